"""HTTP/1.1 as bytes: plans written out, messages cut out of a stream exactly as they came."""

import random

import plan as plans

CRLF = b"\r\n"


class Cut(Exception):
    """The stream ended inside a message. Carries what had come of it."""

    def __init__(self, raw):
        super().__init__(f"cut off after {len(raw)} bytes")
        self.raw = raw


# Writing.


def request_bytes(exchange):
    """Head and framed body."""
    rng, message = random.Random(f"wire {exchange.number}"), exchange.request
    lines = [("Host", rng.choice([plans.HOST, plans.HOST.upper(), plans.HOST + ":443"]))]
    if exchange.target.startswith("https://"):
        lines = [("Host", plans.HOST)]
    lines.append(("X-Exchange", str(exchange.number)))
    if "chat" in exchange.target:
        lines.append(("Content-Type", "application/json"))
    if exchange.expects:
        lines.append(("Expect", "100-continue"))
    lines += framing_fields(message) + message.fields
    rng.shuffle(lines)
    return head(f"{exchange.method} {exchange.target} {exchange.version}", lines, rng, strict=True), body(message, rng)


def response_bytes(exchange):
    """Interim heads, head and framed body. No body where the request or the status forbids it."""
    rng, message = random.Random(f"answer {exchange.number}"), exchange.response
    interim = b"".join(
        head(f"HTTP/1.1 {status} {plans.INTERIM[status]}", fields, rng) for status, fields in exchange.interim
    )
    lines = framing_fields(message) + message.fields
    rng.shuffle(lines)
    written = head(f"{exchange.response_version} {exchange.status} {exchange.reason}", lines, rng)
    return interim, written, b"" if exchange.method == "HEAD" else body(message, rng)


def framing_fields(message):
    lines = []
    if message.coding != "identity":
        lines.append(("Content-Encoding", message.coding))
    if message.framing == "length":
        lines.append(("Content-Length", str(len(message.content))))
    if message.framing == "chunked":
        lines.append(("Transfer-Encoding", "chunked"))
    if message.trailers:
        lines.append(("Trailer", ", ".join(name for name, _ in message.trailers)))
    return lines


def head(start_line, lines, rng, strict=False):
    """Odd case and spacing wherever the grammar leaves a choice. Framing fields of requests are not for playing."""
    written = start_line.encode("latin-1") + CRLF
    for name, value in lines:
        framing = name.lower() in ("host", "content-length", "transfer-encoding", "expect", "connection")
        if rng.random() < 0.2:
            name = rng.choice([name.lower(), name.upper()])
        before, after = rng.choice(["", " ", " ", "   ", "\t", " \t "]), rng.choice(["", "", "", " ", "\t"])
        if framing:
            before, after = rng.choice(["", " ", "  "]) if strict else " ", ""
        written += f"{name}:{before}{value}{after}".encode("latin-1") + CRLF
    return written + CRLF


def body(message, rng):
    if message.framing != "chunked":
        return message.content
    written, rest = b"", message.content
    most = max(1, len(rest) // rng.choice([1, 1, 3, 10, 50]))
    while rest:
        size = rng.randint(1, most)
        piece, rest = rest[:size], rest[size:]
        digits = rng.choice([f"{len(piece):x}", f"{len(piece):X}", f"{len(piece):06x}"])
        extension = rng.choice(["", ";a", ";a=b", ';a="b;c"']) if message.extensions else ""
        written += f"{digits}{extension}".encode() + CRLF + piece + CRLF
    if message.extensions:
        return written + b"0;last" + CRLF + trailer_section(message)
    return written + rng.choice([b"0", b"000"]) + CRLF + trailer_section(message)


def trailer_section(message):
    return b"".join(f"{name}: {value}".encode() + CRLF for name, value in message.trailers) + CRLF


# Reading.


class Reader:
    """Cuts messages out of what `read(n)` gives; it gives nothing at the end."""

    def __init__(self, read):
        self.read, self.buffer, self.ended = read, b"", False

    def more(self):
        piece = self.read(1 << 16)
        self.ended = not piece
        self.buffer += piece
        return bool(piece)

    def until(self, end):
        start = 0
        while (found := self.buffer.find(end, start)) < 0:
            start = max(0, len(self.buffer) - len(end))
            if not self.more():
                raise Cut(self.take(len(self.buffer)))
        return self.take(found + len(end))

    def exactly(self, count):
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            piece = self.read(1 << 16)
            if not piece:
                self.ended, self.buffer = True, b""
                raise Cut(b"".join(pieces))
            pieces.append(piece)
            have += len(piece)
        self.buffer = b"".join(pieces)
        return self.take(count)

    def take(self, count):
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def head(self):
        """A head, or nothing when the stream ended before it."""
        if not self.buffer and not self.more():
            return b""
        return self.until(b"\r\n\r\n")

    def body(self, framing):
        if isinstance(framing, int):
            return self.exactly(framing)
        if framing == "close":
            while self.more():
                pass
            return self.take(len(self.buffer))
        raw = []
        try:
            while True:
                line = self.until(CRLF)
                raw.append(line)
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    break
                raw.append(self.exactly(size + 2))
            while raw[-1] != CRLF:
                raw.append(self.until(CRLF))
        except Cut as cut:
            raise Cut(b"".join(raw) + cut.raw) from None
        return b"".join(raw)


def fields_of(head):
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]


def field_of(head, name):
    return next((value for have, value in fields_of(head) if have.lower() == name), None)


def framing_of(head, response_to=None):
    """What ends the body: a number of bytes, "chunked" or "close"."""
    if response_to is not None:
        status = int(head.split(b" ", 2)[1])
        if response_to == "HEAD" or status in (204, 304) or status < 200:
            return 0
    if field_of(head, "transfer-encoding"):
        return "chunked"
    length = field_of(head, "content-length")
    if length is not None:
        return int(length)
    return 0 if response_to is None else "close"


def decoded(raw):
    """Content and trailer section of a chunked body."""
    content, at = b"", 0
    while True:
        end = raw.index(CRLF, at)
        size = int(raw[at:end].split(b";")[0], 16)
        at = end + 2
        if size == 0:
            return content, raw[at:]
        content += raw[at : at + size]
        at += size + 2
