"""disconnects.py SILENCE EVENTS: whoever goes away, the other side learns; whoever is silent, is waited for.

EVENTS is what odd_origin.py writes. One line of JSON for each case: {"case", "seen", "right"}.
"""

import json
import socket
import ssl
import struct
import sys
import threading
import time

import h1

HOST = "api.openai.com"
SILENCE, EVENTS = sys.argv[1], sys.argv[2]
TLS = ssl.create_default_context()
# Longer than anything here takes, and much shorter than any timeout of the daemon.
PATIENCE = 20


def dial():
    sock = socket.create_connection((HOST, 443), float(SILENCE) + PATIENCE)
    return TLS.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False)


def get(session, path, name):
    session.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Name: {name}\r\n\r\n".encode())


def events(wanted):
    """Whether the origin notes this within the patience."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with open(EVENTS) as file:
            if wanted in file.read().splitlines():
                return True
        time.sleep(0.05)
    return False


def farewell(session, how):
    """The ways in which clients go away."""
    if how == "reset":
        session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "notify":
        # close_notify, and nothing more is read.
        session.settimeout(0)
        try:
            session.unwrap()
        except OSError:
            pass
    session.close()


def report(case, seen, right):
    # In one write: others print at the same time.
    sys.stdout.write(json.dumps({"case": case, "seen": seen, "right": right}) + "\n")
    sys.stdout.flush()


def client_leaves_the_request(how):
    name = f"request-{how}"
    session = dial()
    session.sendall(f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nX-Name: {name}\r\nContent-Length: 1000\r\n\r\n{'a' * 500}".encode())
    time.sleep(0.3)
    farewell(session, how)
    time.sleep(1)
    with open(EVENTS) as file:
        seen = [line for line in file.read().splitlines() if name in line]
    report(f"client leaves in its request ({how})", ", ".join(seen) or "nothing left", not seen)


def client_leaves_the_response(how, path, kind):
    name = f"{kind}-{how}"
    session = dial()
    get(session, path, name)
    if kind != "waiting":
        reader = h1.Reader(session.recv)
        reader.head()
        reader.until(b"data: tick\n\n")
    elif not events(f"whole {name}"):
        return report(f"client leaves while {kind} ({how})", "the request did not arrive", False)
    farewell(session, how)
    noticed = events(f"left {name}")
    report(f"client leaves while {kind} ({how})", "the origin sees it" if noticed else "the origin sees nothing", noticed)


def origin_leaves(how):
    session = dial()
    get(session, f"/cut/{how}", f"cut-{how}")
    data, end = b"", "said goodbye"
    try:
        while piece := session.recv(65536):
            data += piece
    except (ssl.SSLEOFError, ConnectionError) as error:
        end = type(error).__name__
    whole = b"\r\n0\r\n" in data
    right = data.count(b"tick") == 3 and not whole and end != "said goodbye"
    report(f"origin leaves in its answer ({how})", f"{data.count(b'tick')} events, {'the last chunk, ' if whole else ''}{end}", right)


def silence():
    session = dial()
    get(session, f"/silent/{SILENCE}", "silent")
    reader, started = h1.Reader(session.recv), time.monotonic()
    try:
        reader.head()
        body = reader.body("chunked")
        seen = f"{body.count(b'tick')} events"
    except (h1.Cut, OSError) as error:
        body, seen = b"", f"{type(error).__name__} after {time.monotonic() - started:.0f} s"
    report(f"origin is silent for {SILENCE} s", seen, body.count(b"tick") == 2)


def main():
    cases = [(silence,)]
    for how in ("reset", "close", "notify"):
        cases.append((client_leaves_the_request, how))
        cases.append((client_leaves_the_response, how, "/endless", "streaming"))
        cases.append((client_leaves_the_response, how, "/silent/60", "silent"))
        cases.append((client_leaves_the_response, how, "/waiting", "waiting"))
    cases += [(origin_leaves, "fin"), (origin_leaves, "reset")]
    threads = [threading.Thread(target=case[0], args=case[1:]) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
