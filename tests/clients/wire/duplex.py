"""A TLS session that one thread reads while another writes: OpenSSL's must not be used by two at once."""

import select
import ssl
import threading
import time


class Duplex:
    def __init__(self, session, patience=20):
        session.setblocking(False)
        self.session, self.patience, self.lock = session, patience, threading.Lock()

    def sendall(self, data):
        """Sends it all. A peer that takes nothing for the patience is given up."""
        view, deadline = memoryview(data), time.monotonic() + self.patience
        while view:
            sent = self.attempt(self.session.send, view[: 1 << 16])
            if sent:
                view, deadline = view[sent:], time.monotonic() + self.patience
            elif time.monotonic() > deadline:
                raise TimeoutError("nothing is taken any more")
            else:
                select.select([], [self.session], [], 0.05)

    def recv(self, count):
        """What has come; nothing at the end."""
        while True:
            data = self.attempt(self.session.recv, count)
            if data is not None:
                return data
            select.select([self.session], [], [], 0.05)

    def attempt(self, operation, argument):
        with self.lock:
            try:
                return operation(argument)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None

    def close(self):
        with self.lock:
            self.session.close()
