"""h2_odd_origin.py EVENTS: odd_origin.py for HTTP/2, with prior knowledge.

Notes of streams: `whole NAME`, `left NAME` for one that the other side resets or whose connection it ends.

/endless  /silent/N  /waiting  /large/N  as there; /cut/reset and /cut/fin after three events: the stream, or the connection
"""

import selectors
import socket
import sys
import threading
import time

from h2peer import Outgoing, Peer, nodelay

EVENTS = open(sys.argv[1], "w")
LOCK = threading.Lock()
EVENT = b"data: tick\n\n"
HEADERS = [(b":status", b"200"), (b"content-type", b"text/event-stream")]


def note(text):
    with LOCK:
        print(text, file=EVENTS, flush=True)


class Server:
    """One connection; `due` are things to do to a stream at a time."""

    def __init__(self, sock):
        self.peer, self.due, self.names = Peer(nodelay(sock), client=False), {}, {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(sock, selectors.EVENT_READ)

    def run(self):
        while not self.peer.gone:
            soonest = min((at for at, _ in self.due.values()), default=time.monotonic() + 1)
            if self.selector.select(max(0, soonest - time.monotonic())):
                for number in self.peer.step():
                    self.over(number, self.peer.streams[number])
            for number, (at, action) in list(self.due.items()):
                if at <= time.monotonic() and not self.peer.gone:
                    del self.due[number]
                    action()
        for name in self.names.values():
            note(f"left {name}")

    def over(self, number, stream):
        if stream.ended and number not in self.names:
            headers = dict(stream.headers)
            name = self.names[number] = headers.get(b"x-name", b"-").decode()
            note(f"whole {name}")
            path = headers[b":path"].decode().strip("/").split("/")
            getattr(self, path[0] if path[0] in ANSWERS else "small")(number, *path[1:])
        elif stream.reset is not None:
            self.due.pop(number, None)
            note(f"left {self.names.pop(number, '-')}")

    def later(self, number, seconds, action):
        self.due[number] = (time.monotonic() + seconds, action)

    def begin(self, number):
        self.peer.connection.send_headers(number, HEADERS)
        self.tick(number)

    def tick(self, number, end=False):
        """An event, for which a patient client has a window."""
        self.peer.connection.send_data(number, EVENT, end_stream=end)
        self.peer.flush()
        if end:
            self.done(number)

    def done(self, number):
        self.names.pop(number, None)
        self.peer.streams.pop(number, None)

    def small(self, number, *_):
        self.peer.send(number, HEADERS, Outgoing(b"ok", [2], [], 0))
        self.done(number)

    def large(self, number, size):
        self.peer.send(number, HEADERS, Outgoing(bytes(int(size)), [16384], [], 0))

    def endless(self, number):
        self.begin(number)

        def again():
            self.tick(number)
            self.later(number, 0.05, again)

        self.later(number, 0.05, again)

    def silent(self, number, seconds):
        self.begin(number)
        self.later(number, float(seconds), lambda: self.tick(number, end=True))

    def waiting(self, number):
        pass

    def cut(self, number, how):
        self.begin(number)
        self.tick(number)
        self.tick(number)

        def leave():
            if how == "reset":
                self.peer.connection.reset_stream(number, 2)
                self.peer.flush()
                self.done(number)
            else:
                self.peer.gone = True
                self.done(number)

        self.later(number, 0.2, leave)


ANSWERS = {"large", "endless", "silent", "waiting", "cut"}


def serve(sock):
    try:
        Server(sock).run()
    except ConnectionError as error:
        note(f"ended {error}")
    finally:
        sock.close()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
