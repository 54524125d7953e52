"""One chat completion through OpenAI's Python SDK: openai_chat.py whole|stream PROMPT HOLD"""

import json
import pathlib
import sys

from openai import OpenAI

mode, prompt, hold = sys.argv[1:]
client = OpenAI(api_key="test", max_retries=0, timeout=90)
messages = [{"role": "user", "content": prompt}]
if mode == "whole":
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages)
    answer, http = raw.parse(), raw.http_response.http_version
    text, pieces, usage = answer.choices[0].message.content, 1, answer.usage
else:
    text, pieces, usage = "", 0, None
    stream = client.chat.completions.create(
        model="gpt-4o",
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"x-lab-hold": hold},
    )
    http = stream.response.http_version
    for chunk in stream:
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            pathlib.Path(hold).touch()
            text += chunk.choices[0].delta.content
            pieces += 1
http = http.removeprefix("HTTP/")
print(json.dumps({"text": text, "pieces": pieces, "output_tokens": usage.completion_tokens, "http": http}))
