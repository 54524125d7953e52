"""Reads an answer as a command-line client prints it: answer.py whole|stream HOLD SAID

SAID is a file of what else the client says; when the answer is over, it names the version of HTTP.
"""

import json
import pathlib
import re
import sys

import exchange

mode, hold, said = sys.argv[1:]
answer = exchange.Answer(hold)
if mode == "whole":
    answer.whole(json.load(sys.stdin))
else:
    # Line by line: iterating over the file would read ahead.
    while line := sys.stdin.readline():
        answer.line(line.rstrip("\n"))
answer.report(re.search(r"HTTP/([0-9.]+)", pathlib.Path(said).read_text())[1])
