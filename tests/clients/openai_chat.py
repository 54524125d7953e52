"""One chat completion through OpenAI's Python SDK: openai_chat.py whole|stream PROMPT HOLD"""

import json
import pathlib
import sys

from openai import OpenAI

mode, prompt, hold = sys.argv[1:]
client = OpenAI(api_key="test", max_retries=0, timeout=90)
messages = [{"role": "user", "content": prompt}]
if mode == "whole":
    answer = client.chat.completions.create(model="gpt-4o", messages=messages)
    text, pieces, usage = answer.choices[0].message.content, 1, answer.usage
else:
    text, pieces, usage = "", 0, None
    for chunk in client.chat.completions.create(
        model="gpt-4o",
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"x-lab-hold": hold},
    ):
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            pathlib.Path(hold).touch()
            text += chunk.choices[0].delta.content
            pieces += 1
print(json.dumps({"text": text, "pieces": pieces, "output_tokens": usage.completion_tokens}))
