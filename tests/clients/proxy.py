"""proxy.py DIR: an HTTP proxy at 203.0.113.2:3128 for user "me" with password "open". It keeps the heads of the requests
that reach it in DIR/proxy-NUMBER."""

import itertools
import socket
import socketserver
import sys
import threading

DIR = sys.argv[1]
NUMBERS = itertools.count(1)
HOSTS = {"foreign.example": "203.0.113.200"}
AUTHORIZED = b"proxy-authorization: basic bwu6b3blbg=="


def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def joined(client, server, early):
    server.sendall(early)
    back = threading.Thread(target=pump, args=(server, client))
    back.start()
    pump(client, server)
    back.join()


class Proxy(socketserver.BaseRequestHandler):
    def handle(self):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = self.request.recv(65536)
                if not data:
                    return
                rest += data
            head, rest = rest.split(b"\r\n\r\n", 1)
            with open(f"{DIR}/proxy-{next(NUMBERS)}", "wb") as kept:
                kept.write(head)
            if AUTHORIZED not in head.lower():
                self.request.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n"
                    b"Content-Length: 6\r\n\r\nwho?\r\n"
                )
                continue
            method, target, _ = head.split(b"\r\n")[0].split(b" ")
            if method == b"CONNECT":
                host, port = target.decode().rsplit(":", 1)
                server = socket.create_connection((HOSTS.get(host, host), int(port)))
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                return joined(self.request, server, rest)
            host = target.split(b"/")[2].decode().split(":")[0]
            server = socket.create_connection((host, 80))
            return joined(self.request, server, head + b"\r\n\r\n" + rest)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is not worth a word."""


server = Server(("203.0.113.2", 3128), Proxy)
open(f"{DIR}/proxy.ready", "w").close()
server.serve_forever()
