"""origin.py SEED OUTPUT: the server of the differential test, with HTTP/1.1 on a port it prints.

Each request names its exchange; what came, byte for byte, is a line of JSON in OUTPUT, and what is answered is the plan's.
"""

import json
import socket
import struct
import sys
import threading

import h1
import plan
from seen import Seen

SEED, OUTPUT = sys.argv[1], open(sys.argv[2], "w")
LOCK = threading.Lock()


def serve(sock):
    reader = h1.Reader(sock.recv)
    try:
        while answer(sock, reader):
            pass
    except ConnectionError:
        pass
    finally:
        sock.close()


def answer(sock, reader):
    """One exchange; false when the connection is over."""
    try:
        head = reader.head()
    except h1.Cut as cut:
        keep(None, Seen(cut.raw, b"", "cut"))
        return False
    if not head:
        return False
    exchange = plan.plan(SEED, int(h1.field_of(head, "x-exchange")))
    interim, head_back, body_back = h1.response_bytes(exchange)
    if exchange.expects:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        body = reader.body(h1.framing_of(head))
    except h1.Cut as cut:
        keep(exchange, Seen(head, cut.raw, "cut"))
        return False
    keep(exchange, Seen(head, body, "whole"))
    whole = interim + head_back + body_back
    if exchange.cut == "origin-silent":
        return False
    if exchange.cut in ("origin-close", "origin-reset"):
        sock.sendall(whole[: int(exchange.cut_at * len(whole))])
        if exchange.cut == "origin-reset":
            # Whatever is still to be sent is thrown away too: the other side may see less.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    sock.sendall(whole)
    # Whoever closes a connection says so before: a request could be on its way.
    said = [h1.field_of(one, "connection") or "" for one in (head, head_back)]
    return exchange.response.framing != "close" and "close" not in [text.lower() for text in said]


def keep(exchange, seen):
    line = json.dumps({"number": exchange.number if exchange else None, **seen.described()})
    with LOCK:
        print(line, file=OUTPUT, flush=True)


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
