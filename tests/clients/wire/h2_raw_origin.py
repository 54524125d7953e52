"""h2_raw_origin.py OUTPUT: answers every request of HTTP/2 and keeps its parts, a line of JSON each; on a port it prints."""

import json
import socket
import sys
import threading

from h2peer import Outgoing, Peer, nodelay

OUTPUT = open(sys.argv[1], "w")
LOCK = threading.Lock()


def text(fields):
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]


def serve(sock):
    peer = Peer(nodelay(sock), client=False)
    try:
        while not peer.gone:
            for number in peer.step():
                stream = peer.streams.pop(number)
                seen = {"headers": text(stream.headers), "bytes": len(stream.body), "trailers": text(stream.trailers)}
                with LOCK:
                    print(json.dumps({**seen, "whole": stream.ended}), file=OUTPUT, flush=True)
                if stream.ended:
                    head = dict(stream.headers).get(b":method") == b"HEAD"
                    peer.send(number, [(b":status", b"200")], None if head else Outgoing(b"ok", [2], [], 0))
    except ConnectionError as error:
        print(f"origin: {error}", file=sys.stderr)
    finally:
        sock.close()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
