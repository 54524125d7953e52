"""odd_origin.py EVENTS: a server whose answers are odd, each by its path; on a port it prints.

What happens to it, is a line of text in EVENTS: `head NAME` for a whole head, `whole NAME` for a whole request, `broken NAME`
for one that broke off, `left NAME` when the other side goes away. NAME is the value of X-Name, so that a test can tell.

/endless        events, one every 50 ms, until somebody stops it
/silent/N       an event, N seconds of silence, an event, the end
/waiting        nothing, until the other side goes away
/cut/HOW        three events, and then away: HOW is `fin` or `reset`
/large/N        N bytes
/bomb/CODING    10 GB of zeros, small
"""

import select
import socket
import struct
import sys
import threading
import time

import bombs
import h1

EVENTS = open(sys.argv[1], "w")
LOCK = threading.Lock()
EVENT = b"data: tick\n\n"


def note(text):
    with LOCK:
        print(text, file=EVENTS, flush=True)


def serve(sock):
    reader = h1.Reader(sock.recv)
    try:
        while answer(sock, reader):
            pass
    except (ConnectionError, h1.Cut) as error:
        note(f"ended {error}")
    finally:
        sock.close()


def answer(sock, reader):
    try:
        head = reader.head()
    except h1.Cut:
        note("broken -")
        return False
    if not head:
        return False
    name, path = h1.field_of(head, "x-name") or "-", head.split(b" ")[1].decode().strip("/").split("/")
    note(f"head {name}")
    try:
        reader.body(h1.framing_of(head))
    except h1.Cut:
        note(f"broken {name}")
        return False
    note(f"whole {name}")
    try:
        return ANSWERS.get(path[0], small)(sock, name, *path[1:])
    except OSError:
        note(f"left {name}")
        return False


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(sock, first=b""):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + first)


def gone(sock, seconds):
    """Whether the other side goes away within that time."""
    ready, _, _ = select.select([sock], [], [], seconds)
    return bool(ready) and not sock.recv(1, socket.MSG_PEEK)


def small(sock, name, *_):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


def endless(sock, name):
    stream(sock)
    while not gone(sock, 0.05):
        sock.sendall(chunk(EVENT))
    note(f"left {name}")
    return False


def silent(sock, name, seconds):
    stream(sock, chunk(EVENT))
    if gone(sock, float(seconds)):
        note(f"left {name}")
        return False
    sock.sendall(chunk(EVENT) + b"0\r\n\r\n")
    return True


def waiting(sock, name):
    while not gone(sock, 60):
        pass
    note(f"left {name}")
    return False


def cut(sock, name, how):
    stream(sock, chunk(EVENT) * 3)
    time.sleep(0.2)
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def large(sock, name, size):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % size.encode())
    left, piece = int(size), b"z" * 65536
    while left:
        left -= sock.send(piece[:left])
    return True


def bomb(sock, name, coding):
    data = bombs.bomb(coding)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\n"
    sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return True


ANSWERS = {"endless": endless, "silent": silent, "waiting": waiting, "cut": cut, "large": large, "bomb": bomb}


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
