"""Requests that went in over HTTP/2 and came out over HTTP/1.1: the latter's in the words of the former."""

import hashlib

import h1
import h2wire

# What frames a body is each version's own.
FRAMING = ("content-length", "transfer-encoding")


def arrived(line, exchange):
    """What an origin of HTTP/1.1 saw, as an origin of HTTP/2 would have described it."""
    head = line["head"].encode("latin-1")
    method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in h1.fields_of(head)]
    host = [value for name, value in fields if name == b"host"]
    pseudo = [(b":method", method.encode()), (b":scheme", b"https"), (b":path", target.encode())]
    pseudo += [(b":authority", value) for value in host]
    headers = h2wire.by_name(pseudo + [field for field in fields if field[0] != b"host"])
    seen = {"headers": loose(headers), "interim": [], "trailers": {}, "end": line["end"]}
    message = exchange.request
    if "transfer-encoding" in headers and body_digest(message) == line["digest"]:
        trailers = h2wire.by_name(h2wire.pairs(message.trailers))
        return {**seen, "bytes": len(message.content), "digest": digest(message.content), "trailers": trailers}
    return {**seen, "bytes": line["bytes"], "digest": line["digest"]}


def body_digest(message):
    """Of the body in one chunk, as the interceptor writes what it has to frame itself."""
    content = message.content
    chunk = b"%x\r\n%s\r\n" % (len(content), content) if content else b""
    # Equal names come together (RFC 9110, 5.3).
    pairs = h2wire.pairs(message.trailers)
    names = list(dict(pairs))
    lines = b"".join(b"%s: %s\r\n" % pair for pair in sorted(pairs, key=lambda pair: names.index(pair[0])))
    return digest(chunk + b"0\r\n" + lines + b"\r\n")


def digest(data):
    return hashlib.sha256(data).hexdigest()


def loose(headers):
    """Without framing, with the crumbs of a cookie together (RFC 9113, 8.2.3), equal names in no order: the two origins do not
    write theirs in the same."""
    kept = {name: sorted(values) for name, values in headers.items() if name not in FRAMING}
    if "cookie" in headers:
        kept["cookie"] = ["; ".join(headers["cookie"])]
    return kept


def described(seen):
    """What was seen over HTTP/2, to be compared with that."""
    return {**seen, "headers": loose(seen["headers"]), "interim": [loose(headers) for headers in seen["interim"]]}
