"""h2_differential.py SEED COUNT OUTPUT (direct PORT | lab): differential.py over HTTP/2, many streams at once."""

import json
import queue
import socket
import ssl
import sys
import threading
import traceback

import h2wire
import plan
from h2peer import Peer, nodelay
from h2seen import described

SEED, COUNT, OUTPUT = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "w")
PORT = int(sys.argv[5]) if sys.argv[4] == "direct" else None
CONNECTIONS, AT_ONCE, RUN = 6, 12, 40
PATIENCE = 60
LOCK = threading.Lock()
TLS = ssl.create_default_context()
TLS.set_alpn_protocols(["h2"])


def dial():
    if PORT:
        return nodelay(socket.create_connection(("127.0.0.1", PORT), PATIENCE))
    sock = nodelay(socket.create_connection((plan.HOST, 443), PATIENCE))
    session = TLS.wrap_socket(sock, server_hostname=plan.HOST)
    if session.selected_alpn_protocol() != "h2":
        raise ConnectionError(f"negotiated {session.selected_alpn_protocol()}")
    return session


def converse(exchanges):
    peer, waiting, running = Peer(dial(), client=True), list(exchanges), {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            exchange = waiting.pop(0)
            number = peer.open(h2wire.request_headers(exchange), h2wire.outgoing(exchange, "request"))
            running[number] = exchange
        settle(peer, running)
        if running:
            peer.step()
    peer.connection.close_connection()
    peer.flush()
    peer.sock.close()


def settle(peer, running):
    """Takes the streams that are over, and leaves those that the plan says to leave."""
    for number, exchange in list(running.items()):
        stream = peer.streams[number]
        wanted = int(exchange.cut_at * len(exchange.response.content)) if exchange.method != "HEAD" else 0
        if exchange.cut == "client-response" and stream.headers and len(stream.body) >= wanted and not stream.over():
            peer.connection.reset_stream(number, 8)
            peer.flush()
            stream.closed = True
        if stream.over():
            with LOCK:
                print(json.dumps({"number": exchange.number, **described(stream)}), file=OUTPUT, flush=True)
            del running[number], peer.streams[number]


def work(waiting, failures):
    while True:
        try:
            run = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            converse(run)
        except Exception:
            failures.append(f"{[e.number for e in run]}: {traceback.format_exc()}")


def main():
    waiting, failures = queue.Queue(), []
    for start in range(0, COUNT, RUN):
        waiting.put([plan.plan(SEED, number) for number in range(start, min(COUNT, start + RUN))])
    workers = [threading.Thread(target=work, args=(waiting, failures)) for _ in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"{len(failures)} connections failed")
    print("\n".join(failures[:5]))
    sys.exit(bool(failures))


main()
