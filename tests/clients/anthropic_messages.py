"""One message through Anthropic's Python SDK: anthropic_messages.py whole|stream PROMPT HOLD"""

import json
import pathlib
import sys

from anthropic import Anthropic

mode, prompt, hold = sys.argv[1:]
client = Anthropic(api_key="test", max_retries=0, timeout=90)
request = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": prompt}],
}
if mode == "whole":
    raw = client.messages.with_raw_response.create(**request)
    answer, http = raw.parse(), raw.http_response.http_version
    text, pieces = answer.content[0].text, 1
else:
    text, pieces = "", 0
    with client.messages.stream(**request, extra_headers={"x-lab-hold": hold}) as stream:
        http = stream.response.http_version
        for piece in stream.text_stream:
            pathlib.Path(hold).touch()
            text += piece
            pieces += 1
        answer = stream.get_final_message()
http = http.removeprefix("HTTP/")
print(json.dumps({"text": text, "pieces": pieces, "output_tokens": answer.usage.output_tokens, "http": http}))
