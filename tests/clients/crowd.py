"""More connections than one user may have: what becomes of the others.

usage: crowd.py LIMIT

Holds LIMIT connections, makes a request on one more to each of two providers, then many that say nothing at once, then
lets everything go and makes a request again. Prints one JSON document.
"""

import http.client
import json
import socket
import ssl
import sys
import time

LIMIT = int(sys.argv[1])
TLS = ssl.create_default_context()
BODY = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]})
PATHS = {"api.openai.com": "/v1/chat/completions", "api.anthropic.com": "/v1/messages"}


def request(connection, name):
    connection.request("POST", PATHS[name], BODY, {"content-type": "application/json"})
    response = connection.getresponse()
    headers = {key.lower(): value for key, value in response.getheaders()}
    return {"status": response.status, "headers": headers, "body": json.loads(response.read())}


def connect(name):
    return http.client.HTTPSConnection(name, timeout=20, context=TLS)


def crowd(count):
    """Handshakes begun at once: those that are heard are few, the others are closed."""
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(("api.openai.com", 443), timeout=20))
    # Those that are heard are waited for as long as they say nothing, but not for long.
    seen = {"kept": 0, "closed": 0}
    for sock in sockets:
        sock.settimeout(1)
        try:
            seen["closed" if sock.recv(1) == b"" else "kept"] += 1
        except TimeoutError:
            seen["kept"] += 1
        except ConnectionResetError:
            seen["closed"] += 1
    for sock in sockets:
        sock.close()
    return seen


held = [connect("api.openai.com") for _ in range(LIMIT)]
for connection in held:
    assert request(connection, "api.openai.com")["status"] == 200
report = {"held": len(held)}
report["openai"] = request(connect("api.openai.com"), "api.openai.com")
report["anthropic"] = request(connect("api.anthropic.com"), "api.anthropic.com")
report["crowd"] = crowd(30)
for connection in held:
    connection.close()
deadline = time.monotonic() + 20
while True:
    afterwards = request(connect("api.openai.com"), "api.openai.com")["status"]
    if afterwards == 200 or time.monotonic() > deadline:
        break
    time.sleep(0.1)
report["afterwards"] = afterwards
print(json.dumps(report))
