"""One chat completion through requests: python_requests.py whole|stream PROMPT HOLD"""

import requests

import exchange

mode, prompt, hold, _ = exchange.arguments()
answer = exchange.Answer(hold)
response = requests.post(
    exchange.URL,
    json=exchange.request(mode, prompt),
    headers=exchange.fields(mode, hold),
    stream=mode == "stream",
    timeout=90,
)
response.raise_for_status()
if mode == "whole":
    answer.whole(response.json())
else:
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        answer.line(line)
answer.report({11: "1.1", 20: "2"}[response.raw.version])
