"""One chat completion through aiohttp: python_aiohttp.py whole|stream PROMPT HOLD"""

import asyncio

import aiohttp

import exchange


async def main():
    mode, prompt, hold, _ = exchange.arguments()
    answer = exchange.Answer(hold)
    request = {"json": exchange.request(mode, prompt), "headers": exchange.fields(mode, hold)}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session:
        async with session.post(exchange.URL, **request) as response:
            response.raise_for_status()
            if mode == "whole":
                answer.whole(await response.json())
            else:
                async for line in response.content:
                    answer.line(line.decode().rstrip("\n"))
            answer.report(f"{response.version.major}.{response.version.minor}")


asyncio.run(main())
