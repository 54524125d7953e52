"""A WebSocket server that says back what it is told, for the lab's --upstream: websocket_echo.py

It prints the port it listens on, and serves until its standard input ends. The query asks for more:

    fragments=N   every message comes back in frames of N characters or bytes, with a ping between them
    first=NAME    one of WRONG, or of HANDSHAKES, instead of an echo: what no endpoint should send
"""

import os
import sys
import threading
import zlib
from urllib.parse import parse_qs, urlsplit

# How many fragments it takes is the suite's business, not its own. Read when it is imported.
os.environ["WEBSOCKETS_MAX_FRAGMENTS"] = str(1 << 20)

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import serve

# Frames that break the protocol, as bytes on the wire.
WRONG = {
    "masked": b"\x81\x81\x01\x02\x03\x04a",
    "opcode": b"\x83\x00",
    "control-opcode": b"\x8b\x00",
    "reserved-bit": b"\x91\x00",
    "compressed-unasked": b"\xc1\x00",
    "long-ping": b"\x89\x7e\x00\x7e" + bytes(126),
    "fragmented-ping": b"\x09\x00",
    "continuation": b"\x80\x00",
    "interrupted": b"\x01\x00\x81\x00",
    "length": b"\x82\x7e\x00\x01a",
    "utf8": b"\x81\x02\xc3\x28",
    "cut-character": b"\x81\x01\xc3",
    "close-code": b"\x88\x02\x03\xed",
    "close-length": b"\x88\x01\x03",
    "inflate": b"\xc1\x03\xff\xff\xff",
}

# Answers to the handshake that agree to something else than was asked.
HANDSHAKES = {
    "accept": ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    "extension": ("Sec-WebSocket-Extensions", "x-other"),
    "subprotocol": ("Sec-WebSocket-Protocol", "not-offered"),
}


def query(request):
    return parse_qs(urlsplit(request.path).query)


def answer(connection, request, response):
    name = query(request).get("first", [""])[0]
    if name in HANDSHAKES:
        field, value = HANDSHAKES[name]
        if field in response.headers:
            del response.headers[field]
        response.headers[field] = value
    return response


def bomb():
    """One frame that becomes 64 MiB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(64))
    payload += compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    return b"\xc2\x7f" + len(payload).to_bytes(8, "big") + payload


def converse(connection):
    asked = query(connection.request)
    wrong = asked.get("first", [""])[0]
    if wrong:
        connection.socket.sendall(bomb() if wrong == "bomb" else WRONG.get(wrong, b""))
    size = int(asked.get("fragments", ["0"])[0])
    try:
        for message in connection:
            connection.send(pieces(connection, message, size) if size and len(message) > size else message)
    except ConnectionClosed:
        pass


def pieces(connection, message, size):
    for start in range(0, len(message), size):
        yield message[start : start + size]
        connection.ping(str(start))


settings = {
    "process_response": answer,
    "extensions": [ServerPerMessageDeflateFactory()],
    "compression": None,
    "max_size": None,
    "ping_interval": None,
    "close_timeout": 2,
}
with serve(converse, "127.0.0.1", 0, **settings) as server:
    print(server.socket.getsockname()[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()
