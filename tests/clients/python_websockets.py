"""One conversation through websockets: python_websockets.py whole|stream PROMPT HOLD"""

import json
import pathlib
import sys
from urllib.parse import urlencode

from websockets.sync.client import connect

mode, prompt, hold = sys.argv[1:]
query = {"model": "gpt-realtime"} | ({"hold": hold} if mode == "stream" else {})
content = [{"type": "input_text", "text": prompt}]
item = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
text, pieces = "", 0
with connect("wss://api.openai.com/v1/realtime?" + urlencode(query), open_timeout=90) as connection:
    connection.send(json.dumps(item))
    while (event := json.loads(connection.recv(timeout=90)))["type"] != "response.done":
        pathlib.Path(hold).touch()
        text += event["delta"]
        pieces += 1
report = {"text": text, "pieces": pieces, "deflated": event["deflated"], "close": connection.close_code}
print(json.dumps(report | {"http": "1.1"}))
