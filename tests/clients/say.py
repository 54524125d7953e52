"""say.py HOST PORT STEP...: a connection step by step.

say:TEXT    sends TEXT (\\r, \\n and \\xNN understood)
hello:NAME  sends a ClientHello with that server name (none when empty); hello-ech:NAME offers Encrypted ClientHello too
wait:MS     does nothing
hear        prints what comes within a second, at least one byte
end         closes the sending direction
rest        prints everything to the end
"""

import os
import socket
import sys
import time


def vector(size, data):
    return len(data).to_bytes(size, "big") + data


def hello(name, ech):
    def extension(kind, data):
        return kind.to_bytes(2, "big") + vector(2, data)

    extensions = b""
    if name:
        extensions += extension(0, vector(2, b"\0" + vector(2, name.encode())))
    extensions += extension(10, vector(2, b"\x00\x1d"))
    extensions += extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01"))
    extensions += extension(43, vector(1, b"\x03\x04"))
    extensions += extension(51, vector(2, b"\x00\x1d" + vector(2, os.urandom(32))))
    if ech:
        # outer, HKDF-SHA256 and AES-128-GCM, configuration 1 (RFC 9849, section 5)
        body = b"\0\0\x01\0\x01\x01" + vector(2, os.urandom(32)) + vector(2, os.urandom(144))
        extensions += extension(0xFE0D, body)
    body = b"\x03\x03" + os.urandom(32) + vector(1, os.urandom(32)) + vector(2, b"\x13\x01") + vector(1, b"\0")
    message = b"\x01" + vector(3, body + vector(2, extensions))
    return b"\x16\x03\x01" + vector(2, message)


def shown(data):
    sys.stdout.write(data.decode("latin-1"))
    sys.stdout.flush()


connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
for step in sys.argv[3:]:
    verb, _, text = step.partition(":")
    try:
        if verb == "say":
            connection.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
        elif verb in ("hello", "hello-ech"):
            connection.sendall(hello(text, verb == "hello-ech"))
        elif verb == "wait":
            time.sleep(int(text) / 1000)
        elif verb == "end":
            connection.shutdown(socket.SHUT_WR)
        elif verb == "hear":
            shown(connection.recv(65536))
        elif verb == "rest":
            while data := connection.recv(65536):
                shown(data)
    except ConnectionError as error:
        shown(f"<{type(error).__name__}>".encode())
