"""differential.py SEED COUNT OUTPUT (direct PORT | lab): the client of the differential test.

Sends the exchanges of the plan, several connections at once, and writes what came back as lines of JSON: to the origin at
PORT of loopback, or to the name it has in the lab.
"""

import json
import queue
import random
import socket
import ssl
import sys
import threading
import traceback

import h1
import plan
from seen import Seen

SEED, COUNT, OUTPUT = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "w")
PORT = int(sys.argv[5]) if sys.argv[4] == "direct" else None
CONNECTIONS = 12
PATIENCE = 60
LOCK = threading.Lock()
TLS = ssl.create_default_context()


def dial():
    if PORT:
        return socket.create_connection(("127.0.0.1", PORT), PATIENCE)
    sock = socket.create_connection((plan.HOST, 443), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # An end without farewell is an error here, not an end.
    return TLS.wrap_socket(sock, server_hostname=plan.HOST, suppress_ragged_eofs=False)


class Connection:
    """One connection, on which nothing is read before it is waited for."""

    def __init__(self):
        self.sock = dial()
        self.reader, self.farewell = h1.Reader(self.read), True

    def read(self, count):
        try:
            return self.sock.recv(count)
        except (ssl.SSLEOFError, ConnectionError):
            self.farewell = False
            return b""

    def send(self, data, rng):
        """In pieces whose sizes mean nothing."""
        cuts = rng.choice([1, 1, 2, 5])
        for _ in range(cuts - 1):
            at = rng.randint(0, min(len(data), 3000))
            self.sock.sendall(data[:at])
            data = data[at:]
        self.sock.sendall(data)

    def request(self, exchange):
        """Sends a request; for one that expects it, hears 100 Continue in between."""
        rng = random.Random(exchange.number)
        head, body = h1.request_bytes(exchange)
        if exchange.cut == "client-request":
            whole = head + body
            self.sock.sendall(whole[: int(exchange.cut_at * len(whole))])
            return b""
        if not exchange.expects:
            self.send(head + body, rng)
            return b""
        self.sock.sendall(head)
        heard = self.reader.head()
        self.send(body, rng)
        return heard

    def response(self, exchange, heads=b""):
        body = b""
        try:
            while True:
                head = self.reader.head()
                heads += head
                if not head or not head.split(b" ", 2)[1].startswith(b"1"):
                    break
            if not head:
                return Seen(heads, b"", "cut")
            framing = h1.framing_of(head, exchange.method)
            if exchange.cut == "client-response":
                wanted = int(exchange.cut_at * len(exchange.response.content)) if framing else 0
                while len(self.reader.buffer) < wanted and self.reader.more():
                    pass
                return Seen(heads, self.reader.buffer[:wanted], "left")
            body = self.reader.body(framing)
        except h1.Cut as cut:
            # What came belongs to the head as long as that was not whole.
            whole = head_is_whole(heads)
            return Seen(heads, cut.raw, "cut") if whole else Seen(heads + cut.raw, b"", "cut")
        if framing == "close" and not self.farewell:
            return Seen(heads, body, "cut")
        return Seen(heads, body, "whole")


def head_is_whole(heads):
    last = heads[: -len(b"\r\n\r\n")].rpartition(b"\r\n\r\n")[2]
    return heads.endswith(b"\r\n\r\n") and not last.split(b" ", 2)[1].startswith(b"1")


def sessions():
    """The exchanges, in runs that share a connection."""
    run = []
    for number in range(COUNT):
        run.append(plan.plan(SEED, number))
        if run[-1].last or len(run) == 25:
            yield run
            run = []
    if run:
        yield run


def groups(session):
    """Of a connection: requests that are sent before the first answer is waited for."""
    group = []
    for exchange in session:
        group.append(exchange)
        if not exchange.pipelined:
            yield group
            group = []
    if group:
        yield group


def converse(session):
    connection = Connection()
    try:
        for group in groups(session):
            # Whoever waits for an interim answer, or leaves, does so when everything before was answered.
            early = [e for e in group if not e.expects and e.cut != "client-request"]
            for exchange in early:
                connection.request(exchange)
            for exchange in group:
                if exchange in early:
                    seen = connection.response(exchange)
                elif exchange.expects:
                    heard = connection.request(exchange)
                    seen = connection.response(exchange, heard)
                else:
                    connection.request(exchange)
                    seen = Seen(b"", b"", "left")
                keep(exchange, seen)
    finally:
        connection.sock.close()


def keep(exchange, seen):
    line = json.dumps({"number": exchange.number, **seen.described()})
    with LOCK:
        print(line, file=OUTPUT, flush=True)


def work(waiting, failures):
    while True:
        try:
            session = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            converse(session)
        except Exception:
            failures.append(f"{[e.number for e in session]}: {traceback.format_exc()}")


def main():
    waiting, failures = queue.Queue(), []
    for session in sessions():
        waiting.put(session)
    workers = [threading.Thread(target=work, args=(waiting, failures)) for _ in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"{len(failures)} connections failed")
    print("\n".join(failures[:5]))
    sys.exit(bool(failures))


main()
