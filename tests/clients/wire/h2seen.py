"""What one side saw of a message over HTTP/2: what has to be the same on both ways."""

import hashlib

import h2wire


def described(stream):
    return {
        "headers": h2wire.by_name(stream.headers),
        "interim": [h2wire.by_name(headers) for headers in stream.interim],
        "bytes": len(stream.body),
        "digest": hashlib.sha256(stream.body).hexdigest(),
        "trailers": h2wire.by_name(stream.trailers),
        "end": "whole" if stream.ended else "reset" if stream.reset is not None else "closed",
    }
