"""What the programs around plain HTTP clients share: one chat completion, and its answer whole or in pieces.

Every program is called PROGRAM whole|stream PROMPT HOLD and prints one line of JSON. It makes the file HOLD when it has
the first piece of a streamed answer: only then does the endpoint go on, so an answer that is held back never ends.
"""

import json
import pathlib
import sys

URL = "https://api.openai.com/v1/chat/completions"


def arguments():
    """Mode, prompt, hold, and options of the program's own."""
    mode, prompt, hold, *options = sys.argv[1:]
    return mode, prompt, hold, options


def request(mode, prompt):
    """The body of a request."""
    streaming = {"stream": True, "stream_options": {"include_usage": True}} if mode == "stream" else {}
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]} | streaming


def fields(mode, hold):
    """Header fields besides the client's own."""
    return {"x-lab-hold": hold} if mode == "stream" else {}


class Answer:
    """An answer as it comes."""

    def __init__(self, hold):
        self.hold = pathlib.Path(hold)
        self.text, self.pieces, self.usage = "", 0, None

    def whole(self, document):
        """Takes all of it."""
        self.text, self.pieces = document["choices"][0]["message"]["content"], 1
        self.usage = document["usage"]

    def line(self, line):
        """Takes a line of server-sent events."""
        if not line.startswith("data: ") or line == "data: [DONE]":
            return
        chunk = json.loads(line.removeprefix("data: "))
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            if piece := choice["delta"].get("content"):
                self.hold.touch()
                self.text += piece
                self.pieces += 1

    def report(self, http):
        """Prints what came, and over which version of HTTP."""
        tokens = self.usage["completion_tokens"]
        print(json.dumps({"text": self.text, "pieces": self.pieces, "output_tokens": tokens, "http": http}))
