"""slow.py CONNECTIONS SECONDS: clients that send or take a byte a second, and requests like any other beside them.

A third sends its head byte by byte, a third its body, a third reads a large answer so. Prints one JSON document.
"""

import concurrent.futures
import json
import os
import socket
import ssl
import statistics
import sys
import time

import daemon

HOST = "api.openai.com"
COUNT, SECONDS = int(sys.argv[1]), float(sys.argv[2])
TLS = ssl.create_default_context()


def dial(buffer=None):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if buffer:
        # What the kernel takes for a client that does not read is not taken by it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(60)
    sock.connect((HOST, 443))
    return TLS.wrap_socket(sock, server_hostname=HOST)


def head(length):
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n"
    )


class Slow:
    """One connection, and what it does each second."""

    def __init__(self, number):
        self.kind = ("head", "body", "reader")[number % 3]
        self.session, self.ended = dial(4096 if self.kind == "reader" else None), None
        if self.kind == "head":
            self.bytes = (head(100) + "X-Slow: " + "y" * 4000).encode()
        elif self.kind == "body":
            self.session.sendall((head(100_000) + "\r\n").encode())
            self.bytes = b" " * 100_000
        else:
            self.session.sendall(f"GET /large/20000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        self.session.settimeout(0)

    def tick(self):
        try:
            if self.kind == "reader":
                # Below TLS: a byte of a record.
                if not os.read(self.session.fileno(), 1):
                    self.ended = "closed"
            else:
                self.session.sendall(self.bytes[:1])
                self.bytes = self.bytes[1:]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self.ended = type(error).__name__


def normal():
    """One request on a connection of its own: how long it took, in milliseconds."""
    started, asked = time.monotonic(), json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    with dial() as session:
        session.sendall((head(len(asked)) + "Connection: close\r\n\r\n" + asked).encode())
        answer = b""
        while piece := session.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\nok"):
        raise SystemExit(f"a normal request failed: {answer[:300]!r}")
    return (time.monotonic() - started) * 1000


def spread(times):
    """Of latencies in milliseconds."""
    hundredths = statistics.quantiles(times, n=100)
    return {"requests": len(times), "p50": round(hundredths[49], 2), "p90": round(hundredths[89], 2), "p99": round(hundredths[98], 2)}


def paced(seconds):
    """Normal requests for a while, with as much rest as work."""
    times, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        times.append(normal())
        time.sleep(times[-1] / 1000)
    return times


def main():
    paced(1)
    before, idle = paced(SECONDS / 2), daemon.resident()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        slow = list(pool.map(Slow, range(COUNT)))
    # What the kernel's buffers take of the large answers comes at once, whoever reads them.
    time.sleep(3)
    during, most, until = [], 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        tick = time.monotonic()
        for connection in slow:
            if not connection.ended:
                connection.tick()
        most = max(most, daemon.resident())
        during += paced(max(0.05, tick + 1 - time.monotonic()))
    ended = {}
    for connection in slow:
        outcome = f"{connection.kind} {connection.ended or 'still open'}"
        ended[outcome] = ended.get(outcome, 0) + 1
        connection.session.close()
    time.sleep(2)
    print(json.dumps({
        "connections": len(slow), "became": dict(sorted(ended.items())), "before": spread(before), "during": spread(during),
        "resident": {"before": idle, "most": most, "after": daemon.resident()},
    }))


main()
