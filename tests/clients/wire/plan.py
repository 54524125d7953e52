"""The exchanges of the differential test: both sides compute the same plan from a seed and a number.

Nothing in a plan is a value that a masking rule finds, so whatever passes has to pass as it is.
"""

import gzip
import json
import random
import zlib
from dataclasses import dataclass, field

import brotli
import zstandard

HOST = "api.openai.com"
WORDS = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey xray yankee zulu"
).split()
# The interim answers that pass; 100 is the interceptor's own affair.
INTERIM = {102: "Processing", 103: "Early Hints"}
STATUSES = {
    200: "OK", 201: "Created", 202: "Accepted", 206: "Partial Content", 301: "Moved Permanently", 400: "Bad Request",
    401: "Unauthorized", 404: "Not Found", 409: "Conflict", 418: "", 429: "Too Many Requests", 500: "Internal \xa7 Error",
    503: "Service Unavailable", 529: "Overloaded",
}


@dataclass
class Message:
    """One side's half of an exchange, with everything both versions of HTTP need."""

    fields: list = field(default_factory=list)  # (name, value) as written, without what frames the body
    content: bytes = b""
    trailers: list = field(default_factory=list)
    framing: str = "none"  # none | length | chunked | close
    coding: str = "identity"
    extensions: bool = False


@dataclass
class Exchange:
    number: int
    method: str
    target: str
    version: str
    request: Message
    response: Message
    status: int
    reason: str
    response_version: str
    interim: list  # (status, fields)
    expects: bool  # the client waits for 100 Continue
    pipelined: bool  # the client does not wait for the answer before its next request
    last: bool  # the connection ends with this exchange
    cut: str  # "" | client-request | client-response | origin-close | origin-reset | origin-silent
    cut_at: float  # how much of the message is sent before that

    def kinds(self):
        """What is to be counted of it."""
        request, response = self.request, self.response
        yield f"method {self.method}"
        yield f"request {request.framing}"
        yield f"response {response.framing}"
        yield f"version {self.version}"
        for side, message in (("request", request), ("response", response)):
            if message.coding != "identity":
                yield f"{side} {message.coding}"
            if message.trailers:
                yield f"{side} trailers"
            if message.extensions:
                yield f"{side} chunk extensions"
            if len(message.content) >= 256 << 10:
                yield f"{side} over 256 KiB"
            if len(message.fields) > 40:
                yield f"{side} many fields"
        for status, _ in self.interim:
            yield f"interim {status}"
        for name in ("expects", "pipelined", "last"):
            if getattr(self, name):
                yield name
        if "chat" in self.target:
            yield "known operation"
        if self.cut:
            yield f"cut {self.cut}"


def plan(seed, number):
    rng = random.Random(f"{seed}/{number}")
    method = rng.choice(["GET", "GET", "HEAD", "POST", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    version = "HTTP/1.0" if rng.random() < 0.06 else "HTTP/1.1"
    cut = ""
    if rng.random() < 0.08:
        cut = rng.choice(["client-request", "client-response", "origin-close", "origin-reset", "origin-silent"])
    request = request_message(rng, method, version, cut)
    known = method == "POST" and rng.random() < 0.5
    if known:
        request.content = chat(rng)
    request.content = encoded(request)
    status, reason = rng.choice(list(STATUSES.items()))
    if rng.random() < 0.5:
        status, reason = 200, "OK"
    if rng.random() < 0.08 and not cut:
        status, reason = rng.choice([(204, "No Content"), (304, "Not Modified")])
    response_version = "HTTP/1.0" if rng.random() < 0.05 else "HTTP/1.1"
    response = response_message(rng, method, status, version, response_version, cut)
    response.content = encoded(response)
    interim = []
    if version == "HTTP/1.1" and rng.random() < 0.15:
        interim = [(rng.choice(list(INTERIM)), fields(rng, 3)) for _ in range(rng.randint(1, 3))]
    expects = version == "HTTP/1.1" and request.framing in ("length", "chunked") and not cut and rng.random() < 0.15
    closes = bool(cut) or "close" in (request.framing, response.framing) or rng.random() < 0.12
    alive = version == "HTTP/1.1" and response_version == "HTTP/1.1"
    if closes and not cut and response.framing != "close":
        rng.choice([request, response]).fields.append(("Connection", rng.choice(["close", "Close"])))
    elif not alive and not closes:
        for message, own in ((request, version), (response, response_version)):
            if own == "HTTP/1.0":
                message.fields.append(("Connection", "keep-alive"))
    target = target_of(rng, number, method, known)
    return Exchange(
        number, method, target, version, request, response, status, reason, response_version, interim, expects,
        pipelined=not expects and not closes and rng.random() < 0.3, last=closes, cut=cut, cut_at=rng.random(),
    )


def target_of(rng, number, method, known):
    if known:
        return f"/v1/chat/completions?exchange={number}"
    if method == "OPTIONS" and rng.random() < 0.3:
        return "*"
    path = "/" + "/".join(rng.choices(WORDS, k=rng.randint(1, 5)))
    if rng.random() < 0.1:
        path += "/" + "-".join(rng.choices(WORDS, k=400))
    path += rng.choice(["", "/", "?", "?q=a%20b&c[]=%C3%A9", "?exchange", "//", "/./..", ";p=1"])
    return f"https://{HOST}{path}" if rng.random() < 0.05 else path


def request_message(rng, method, version, cut):
    message = Message(fields=fields(rng, 60 if rng.random() < 0.05 else 8))
    bodies = method in ("POST", "PUT", "PATCH") or rng.random() < 0.15
    if method == "HEAD" or not bodies and cut != "client-request":
        return message
    message.framing = "length" if version == "HTTP/1.0" else rng.choice(["length", "chunked"])
    message.content = content(rng)
    if rng.random() < 0.25:
        message.coding = rng.choice(["gzip", "deflate", "br", "zstd"])
    if message.framing == "chunked":
        message.extensions = rng.random() < 0.15
        if rng.random() < 0.15:
            message.trailers = trailers(rng)
    return message


def response_message(rng, method, status, version, response_version, cut):
    message = Message(fields=fields(rng, 90 if rng.random() < 0.05 else 8, obs_text=True))
    if rng.random() < 0.1:
        message.fields.insert(rng.randint(0, len(message.fields)), ("Alt-Svc", 'h3=":443"; ma=60'))
    if rng.random() < 0.2:
        message.fields += [("Set-Cookie", f"{word}=1; Path=/") for word in rng.choices(WORDS, k=3)]
    if status in (204, 304):
        return message
    message.framing = rng.choice(["length", "length", "chunked", "chunked", "close"])
    if response_version == "HTTP/1.0" or version == "HTTP/1.0":
        message.framing = rng.choice(["length", "close"])
    if method == "HEAD" and message.framing == "close":
        message.framing = "length"
    if cut.startswith("origin") and message.framing == "close":
        message.framing = "length"
    message.content = content(rng)
    if rng.random() < 0.25:
        message.coding = rng.choice(["gzip", "deflate", "br", "zstd"])
    if message.framing == "chunked":
        message.extensions = rng.random() < 0.15
        if rng.random() < 0.2:
            message.trailers = trailers(rng)
    return message


def fields(rng, most, obs_text=False):
    made = []
    for _ in range(rng.randint(0, most)):
        name = "-".join(rng.choices(WORDS, k=rng.randint(1, 3)))
        name = "x-" + "".join(rng.choice([letter, letter.upper()]) for letter in name)
        if made and rng.random() < 0.15:
            name = made[-1][0].swapcase()
        value = rng.choice([" ", ", ", "; ", "  ", "="]).join(rng.choices(WORDS, k=rng.randint(0, 6)))
        if rng.random() < 0.03:
            value = " ".join(rng.choices(WORDS, k=1500))
        if obs_text and rng.random() < 0.1:
            value += " caf\xe9 \xff"
        made.append((name, value))
    return made


def trailers(rng):
    return [(f"x-{rng.choice(WORDS)}-Sum", rng.choice(WORDS)) for _ in range(rng.randint(1, 3))]


def content(rng):
    size = rng.choices(
        [0, rng.randint(1, 200), rng.randint(200, 4096), rng.randint(4096, 65536), rng.randint(65536, 400_000), 1 << 20],
        [8, 38, 30, 17, 5, 2],
    )[0]
    if rng.random() < 0.4:
        return rng.randbytes(size)
    return " ".join(rng.choices(WORDS, k=size // 6 + 1)).encode()[:size]


def chat(rng):
    """A body of a known operation: valid, and spelled in ways that writing it anew would not keep."""
    text = " ".join(rng.choices(WORDS, k=rng.choice([3, 30, 300, 3000])))
    body = {"model": "m", "messages": [{"role": "user", "content": text + " \u00e9\U0001f600"}], "seed": 7}
    separators = rng.choice([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
    written = json.dumps(body, separators=separators, ensure_ascii=rng.random() < 0.5)
    return written.replace('"seed"', '"temperature":0.70, "se\\u0065d"').encode()


def encoded(message):
    if message.coding == "gzip":
        return gzip.compress(message.content, 6, mtime=0)
    if message.coding == "deflate":
        return zlib.compress(message.content)
    if message.coding == "br":
        return brotli.compress(message.content, quality=3)
    if message.coding == "zstd":
        return zstandard.ZstdCompressor().compress(message.content)
    return message.content
