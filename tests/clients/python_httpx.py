"""One chat completion through httpx: python_httpx.py whole|stream PROMPT HOLD [http2]"""

import httpx

import exchange

mode, prompt, hold, options = exchange.arguments()
answer = exchange.Answer(hold)
request = {"json": exchange.request(mode, prompt), "headers": exchange.fields(mode, hold)}
with httpx.Client(http2="http2" in options, timeout=90) as client:
    with client.stream("POST", exchange.URL, **request) as response:
        response.raise_for_status()
        if mode == "whole":
            response.read()
            answer.whole(response.json())
        else:
            for line in response.iter_lines():
                answer.line(line)
answer.report(response.http_version.removeprefix("HTTP/"))
