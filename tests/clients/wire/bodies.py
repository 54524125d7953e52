"""bodies.py: bodies that are too large, plainly or once they are decoded; one line of JSON for each.

{"case", "seen", "status", "error", "continued", "resident"}: the status, the type of the provider's error, whether the client was asked
to go on with the body, and by how many bytes the daemon's memory had grown at the most meanwhile.
"""

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time

import bombs
import daemon
import h1
from duplex import Duplex

HOST = "api.openai.com"
TLS = ssl.create_default_context()
LARGE = 100_000_000


class Memory:
    """The most the daemon's memory grew while this is watched."""

    def __enter__(self):
        self.idle, self.most, self.watching = daemon.resident(), 0, True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while self.watching:
            self.most = max(self.most, daemon.resident() - self.idle)
            time.sleep(0.01)

    def __exit__(self, *_):
        self.watching = False
        self.thread.join()


def ask(case, path, lines, pieces, waits=False):
    """One request on a connection of its own, and what is said to it."""
    method = "GET" if pieces is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nX-Name: {case}\r\n"
    head += "".join(f"{line}\r\n" for line in lines) + "\r\n"
    with Memory() as memory:
        sock = socket.create_connection((HOST, 443), 60)
        with contextlib.closing(Duplex(TLS.wrap_socket(sock, server_hostname=HOST))) as session:
            reader = h1.Reader(session.recv)
            session.sendall(head.encode())
            sender = threading.Thread(target=send, args=(session, [] if waits or pieces is None else pieces))
            sender.start()
            answer = reader.head()
            continued = answer.startswith(b"HTTP/1.1 100 ")
            if continued:
                answer = reader.head()
            body = reader.body(h1.framing_of(answer, method))
            sender.join()
    result = {"case": case, "status": int(answer.split(b" ")[1]), "continued": continued, "resident": memory.most}
    return result, answer, body


def send(session, pieces):
    try:
        for piece in pieces:
            session.sendall(piece)
    except OSError:
        # It has heard enough.
        pass


def refused(case, lines, pieces, waits=False):
    """An answer of the interceptor's own, in the provider's words."""
    result, answer, body = ask(case, "/v1/chat/completions", lines, pieces, waits)
    document = json.loads(body)
    result["error"] = document["error"]["type"]
    result["seen"] = document["error"]["message"]
    result["audited"] = h1.field_of(answer, "x-interceptor-audit-id") in body.decode()
    print(json.dumps(result), flush=True)


def passed(case, path, wanted):
    """An answer that is the endpoint's, byte for byte."""
    result, _, body = ask(case, path, [], None)
    same = hashlib.sha256(body).digest() == hashlib.sha256(wanted).digest()
    print(json.dumps({**result, "error": None, "seen": "as it was" if same else f"{len(body)} other bytes"}), flush=True)


def chunks(size):
    piece = b"a" * 65536
    for _ in range(size // len(piece)):
        yield b"10000\r\n" + piece + b"\r\n"
    yield b"0\r\n\r\n"


def main():
    plain = (b"a" * 65536 for _ in range(LARGE // 65536))
    refused("100 MB, asking first", [f"Content-Length: {LARGE}", "Expect: 100-continue"], [], waits=True)
    refused("100 MB", [f"Content-Length: {LARGE}"], plain)
    refused("100 MB in chunks", ["Transfer-Encoding: chunked"], chunks(LARGE))
    refused("8 EB announced", [f"Content-Length: {2**63 - 1}"], [b"a"])
    for coding in bombs.BOMBS:
        body = bombs.bomb(coding)
        name = coding.split("-")[0]
        refused(f"{coding} bomb", [f"Content-Encoding: {name}", f"Content-Length: {len(body)}"], [body])
    for coding in ("gzip", "br", "zstd"):
        passed(f"answer that is a {coding} bomb", f"/bomb/{coding}", bombs.bomb(coding))


main()
