"""Prints the body of a request for a command-line client: request.py whole|stream PROMPT"""

import json
import sys

import exchange

print(json.dumps(exchange.request(*sys.argv[1:])))
