"""h2_disconnects.py SILENCE EVENTS: disconnects.py over HTTP/2, where streams go away and their connection stays."""

import json
import socket
import ssl
import sys
import threading
import time

from h2peer import Outgoing, Peer, nodelay

HOST = "api.openai.com"
SILENCE, EVENTS = sys.argv[1], sys.argv[2]
TLS = ssl.create_default_context()
TLS.set_alpn_protocols(["h2"])
PATIENCE = 20


def dial():
    sock = nodelay(socket.create_connection((HOST, 443), float(SILENCE) + PATIENCE))
    session = TLS.wrap_socket(sock, server_hostname=HOST)
    if session.selected_alpn_protocol() != "h2":
        raise SystemExit(f"HTTP/2 was not agreed on, but {session.selected_alpn_protocol()}")
    return Peer(session, client=True)


def headers(path, name, method="GET"):
    wanted = {":method": method, ":scheme": "https", ":authority": HOST, ":path": path, "x-name": name}
    return [(key.encode(), value.encode()) for key, value in wanted.items()]


def noted(wanted):
    """Whether the origin notes this within the patience."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with open(EVENTS) as file:
            if wanted in file.read().splitlines():
                return True
        time.sleep(0.05)
    return False


def until(peer, condition):
    while not condition() and not peer.gone:
        peer.step()


def whole_request(peer):
    """Whether the connection still serves."""
    number = peer.open(headers("/small", "after"))
    until(peer, peer.streams[number].over)
    return peer.streams[number].ended and peer.streams[number].body == b"ok"


def report(case, seen, right):
    # In one write: others print at the same time.
    sys.stdout.write(json.dumps({"case": case, "seen": seen, "right": right}) + "\n")
    sys.stdout.flush()


def client_leaves_the_request(how):
    peer, name = dial(), f"request-{how}"
    peer.open(headers("/small", name, "POST"), Outgoing(b"a" * 500, [100], [], 0, 300))
    if how == "stream":
        served = whole_request(peer)
    else:
        peer.sock.close()
        served = True
    time.sleep(1)
    with open(EVENTS) as file:
        seen = [line for line in file.read().splitlines() if name in line]
    report(f"client leaves in its request ({how})", ", ".join(seen) or "nothing left", not seen and served)


def client_leaves_the_response(how, path, kind):
    peer, name = dial(), f"{kind}-{how}"
    number = peer.open(headers(path, name))
    if kind == "waiting":
        noted(f"whole {name}")
    else:
        until(peer, lambda: b"tick" in peer.streams[number].body)
    served = True
    if how == "stream":
        peer.connection.reset_stream(number, 8)
        peer.flush()
        served = whole_request(peer)
    elif how == "goaway":
        peer.connection.close_connection()
        peer.flush()
        peer.sock.close()
    else:
        peer.sock.close()
    seen = noted(f"left {name}")
    words = "the origin sees it" if seen else "the origin sees nothing"
    report(f"client leaves while {kind} ({how})", words + ("" if served else ", others suffer"), seen and served)


def origin_leaves(how):
    peer = dial()
    number = peer.open(headers(f"/cut/{how}", f"cut-{how}"))
    stream = peer.streams[number]
    until(peer, stream.over)
    served = whole_request(peer)
    end = "whole" if stream.ended else "reset" if stream.reset is not None else "closed"
    right = stream.body.count(b"tick") == 3 and end == "reset" and served
    words = f"{stream.body.count(b'tick')} events, {end}" + ("" if served else ", others suffer")
    report(f"origin leaves in its answer ({how})", words, right)


def silence():
    peer = dial()
    number = peer.open(headers(f"/silent/{SILENCE}", "silent"))
    until(peer, peer.streams[number].over)
    seen = peer.streams[number].body.count(b"tick")
    report(f"origin is silent for {SILENCE} s", f"{seen} events", seen == 2 and peer.streams[number].ended)


def main():
    cases = [(silence,), (client_leaves_the_request, "stream"), (client_leaves_the_request, "close")]
    for how in ("stream", "goaway", "close"):
        cases.append((client_leaves_the_response, how, "/endless", "streaming"))
        cases.append((client_leaves_the_response, how, "/silent/60", "silent"))
        cases.append((client_leaves_the_response, how, "/waiting", "waiting"))
    cases.append((origin_leaves, "reset"))
    # By itself: a connection to the origin carries the streams of many clients, and these would all go with it.
    origin_leaves("fin")
    threads = [threading.Thread(target=case[0], args=case[1:]) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
