"""h2_origin.py SEED OUTPUT: origin.py for HTTP/2, with prior knowledge, on a port it prints."""

import json
import socket
import sys
import threading

import h2wire
import plan
from h2peer import Peer, nodelay
from h2seen import described

SEED, OUTPUT = sys.argv[1], open(sys.argv[2], "w")
LOCK = threading.Lock()


def serve(sock):
    peer = Peer(nodelay(sock), client=False)
    try:
        while not peer.gone:
            for number in peer.step():
                stream = peer.streams.pop(number)
                if stream.headers:
                    answer(peer, number, stream)
    except ConnectionError as error:
        print(f"origin: {error}", file=sys.stderr)
    finally:
        sock.close()


def answer(peer, number, stream):
    named = dict(stream.headers).get(b"x-exchange")
    with LOCK:
        print(json.dumps({"number": int(named) if named else None, **described(stream)}), file=OUTPUT, flush=True)
    if not stream.ended or not named:
        return
    exchange = plan.plan(SEED, int(named))
    if exchange.cut == "origin-silent":
        peer.connection.reset_stream(number, 2)
        peer.flush()
        return
    for interim in h2wire.interim_headers(exchange):
        peer.connection.send_headers(number, interim)
    peer.send(number, h2wire.response_headers(exchange), h2wire.outgoing(exchange, "response"))


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
