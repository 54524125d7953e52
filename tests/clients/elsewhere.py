"""elsewhere.py DIR: the servers of a host that is no model endpoint, at 203.0.113.200.

7      says back what it hears, once it has heard all
80     HTTP, kept alive; an upgrade to "shout" says back what it hears in capitals
443    TLS with DIR/far.pem: HTTP
11434  HTTP, as a local model server speaks it
2222   speaks first, then says back what it hears
Each connection's bytes as the server got them are kept in DIR/PORT-NUMBER.
"""

import itertools
import os
import socketserver
import ssl
import sys
import threading

DIR = sys.argv[1]
NUMBERS = itertools.count(1)


class Kept:
    """A connection whose incoming bytes are kept."""

    def __init__(self, connection, port):
        self.connection = connection
        self.file = open(f"{DIR}/{port}-{next(NUMBERS)}", "wb", buffering=0)

    def recv(self, size=65536):
        data = self.connection.recv(size)
        self.file.write(data)
        return data

    def request(self, data):
        """One request; the bytes behind it."""
        while b"\r\n\r\n" not in data:
            more = self.recv()
            if not more:
                return None, b""
            data += more
        head, rest = data.split(b"\r\n\r\n", 1)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            rest += self.recv()
        if b"transfer-encoding: chunked" in head.lower():
            # The tests send no chunk that holds the end of another.
            while b"0\r\n\r\n" not in rest:
                rest += self.recv()
            length = rest.index(b"0\r\n\r\n") + 5
        return head, rest[length:]


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        kept, heard = Kept(self.request, 7), b""
        while data := kept.recv():
            heard += data
        self.request.sendall(heard)


class First(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"SSH-2.0-elsewhere\r\n")
        kept = Kept(self.request, 2222)
        while data := kept.recv():
            self.request.sendall(data)


class Http(socketserver.BaseRequestHandler):
    PORT = 80

    def handle(self):
        kept, rest = Kept(self.request, self.PORT), b""
        while True:
            head, rest = kept.request(rest)
            if head is None:
                return
            if b"upgrade: shout" in head.lower():
                self.request.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
                while data := kept.recv():
                    self.request.sendall(data.upper())
                return
            body = b'{"id":"x","object":"chat.completion","choices":[],"path":"%s"}' % head.split(b" ")[1]
            self.request.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )


class Local(Http):
    PORT = 11434


class Tls(Http):
    PORT = 443

    def setup(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{DIR}/far.pem")
        try:
            self.request = context.wrap_socket(self.request, server_side=True)
        except (ssl.SSLError, OSError):
            self.handle = lambda: None

    def finish(self):
        self.request.close()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is not worth a word."""


for port, handler in ((7, Echo), (80, Http), (443, Tls), (2222, First), (11434, Local)):
    server = Server(("203.0.113.200", port), handler)
    threading.Thread(target=server.serve_forever).start()
open(f"{DIR}/ready", "w").close()
threading.Event().wait(600)
os._exit(0)
