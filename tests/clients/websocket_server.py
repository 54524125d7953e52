"""A WebSocket server for the lab's --upstream: websocket_server.py

It prints the port it listens on, and serves until its standard input ends. It understands as much of OpenAI's Realtime
interface as a client needs to say something and be answered, one message a word. After the first it waits for the file
that the query's `hold` names, if there is one.
"""

import json
import pathlib
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

from websockets.sync.server import serve

PATIENCE_S = 60


def wait_for(hold):
    deadline = time.monotonic() + PATIENCE_S
    while not pathlib.Path(hold).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the first message was held back")
        time.sleep(0.01)


def converse(connection):
    hold = parse_qs(urlsplit(connection.request.path).query).get("hold")
    for message in connection:
        said = json.loads(message)["item"]["content"][0]["text"]
        for index, word in enumerate(f"You said: {said}".split(" ")):
            if index == 1 and hold:
                wait_for(hold[0])
            connection.send(json.dumps({"type": "response.output_text.delta", "delta": word if index == 0 else " " + word}))
        connection.send(json.dumps({"type": "response.done", "deflated": bool(connection.protocol.extensions)}))


with serve(converse, "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()
