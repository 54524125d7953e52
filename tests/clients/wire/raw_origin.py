"""raw_origin.py DIRECTORY: keeps what each connection brings, whatever it is, and answers once it is quiet.

Prints its port. Whatever comes gets one answer, so nothing depends on how it is read.
"""

import os
import socket
import sys
import threading

QUIET = 0.2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"


def serve(sock, path):
    data = b""
    try:
        while True:
            # The first bytes may take their time; after them, silence is the end of what there is to say.
            sock.settimeout(QUIET if data else None)
            try:
                piece = sock.recv(1 << 16)
            except TimeoutError:
                break
            if not piece:
                break
            data += piece
            if b"100-continue" in data.lower() and data.endswith(b"\r\n\r\n"):
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if data:
            sock.sendall(ANSWER if data.startswith(b"HEAD") else ANSWER + b"ok")
    except ConnectionError:
        pass
    finally:
        sock.close()
    if data:
        with open(path + ".part", "wb") as file:
            file.write(data)
        os.rename(path + ".part", path + ".raw")


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    number = 0
    while True:
        sock, _ = listener.accept()
        number += 1
        threading.Thread(target=serve, args=(sock, os.path.join(sys.argv[1], str(number))), daemon=True).start()


main()
