"""The plans of the differential test as HTTP/2: header lists, bodies, trailers."""

import random

import plan as plans
from h2peer import Outgoing


def lower(name):
    return name.lower().encode("latin-1")


def request_headers(exchange):
    rng, message = random.Random(f"h2 {exchange.number}"), exchange.request
    target = exchange.target.removeprefix(f"https://{plans.HOST}") or "/"
    pseudo = [
        (b":method", exchange.method.encode()), (b":scheme", b"https"), (b":authority", plans.HOST.encode()),
        (b":path", (target if target[0] in "/*" else "/" + target).encode()),
    ]
    rng.shuffle(pseudo)
    lines = [(b"x-exchange", b"%d" % exchange.number)]
    if "chat" in exchange.target:
        lines.append((b"content-type", b"application/json"))
    if message.trailers:
        lines.append((b"te", b"trailers"))
    if rng.random() < 0.1:
        lines += [(b"cookie", b"a=1"), (b"cookie", b"b=2")]
    lines += written(message, rng)
    rng.shuffle(lines)
    return pseudo + lines


def response_headers(exchange):
    rng, message = random.Random(f"h2 answer {exchange.number}"), exchange.response
    lines = written(message, rng)
    rng.shuffle(lines)
    return [(b":status", b"%d" % exchange.status)] + lines


def interim_headers(exchange):
    return [[(b":status", b"%d" % status), *pairs(fields)] for status, fields in exchange.interim]


def written(message, rng):
    """Fields of a message; a length where the plan has one, and sometimes where it has none."""
    lines = pairs(message.fields)
    if message.coding != "identity":
        lines.append((b"content-encoding", message.coding.encode()))
    if message.framing == "length" or message.framing == "close" and rng.random() < 0.3:
        lines.append((b"content-length", b"%d" % len(message.content)))
    if message.trailers:
        lines.append((b"trailer", ", ".join(name for name, _ in message.trailers).encode()))
    return lines


def pairs(fields):
    """Without what is a connection's own in HTTP/1.1 (RFC 9113, 8.2.2), and white space around values (8.2.1)."""
    return [(lower(name), value.strip().encode("latin-1")) for name, value in fields if name.lower() != "connection"]


def outgoing(exchange, side):
    """The rest of a message, or nothing when it ends with its headers."""
    message, rng = getattr(exchange, side), random.Random(f"frames {side} {exchange.number}")
    pieces = rng.choice([[16384], [1, 7, 16384], [100, 1000], [0x3FF]])
    if len(message.content) > 100_000:
        pieces = [16384]
    cut = exchange.cut == "client-request" if side == "request" else exchange.cut in ("origin-close", "origin-reset")
    abort_at = int(exchange.cut_at * len(message.content)) if cut else None
    if side == "response" and (exchange.method == "HEAD" or exchange.status in (204, 304)):
        return Outgoing(b"", pieces, [], 0, 0) if cut else None
    if message.framing == "none" and not cut:
        return None
    return Outgoing(message.content, pieces, pairs(message.trailers), rng.choice([0, 1, 9, 200]), abort_at)


def by_name(headers):
    """What two header lists must have in common: for each name its values in order."""
    names = {}
    for name, value in headers:
        names.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return dict(sorted(names.items()))
