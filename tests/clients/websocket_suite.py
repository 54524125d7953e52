"""A WebSocket suite as wide as Autobahn's: websocket_suite.py [--direct PORT | --through PORT] [PREFIX...]

In the lab, with websocket_echo.py as its --upstream, it talks to an endpoint's name; with --direct to the echo server
itself, with --through to something on this machine that is between the two and does without TLS. It prints one JSON line a case, and exits with 1 when one has failed.
"""

import argparse
import json
import sys
import time

import websocket_cases
from websocket_peer import Peer, Refused
from websocket_steps import CASES, Failed

parser = argparse.ArgumentParser()
parser.add_argument("--direct", type=int, metavar="PORT")
parser.add_argument("--through", type=int, metavar="PORT")
parser.add_argument("prefixes", nargs="*", help="only cases whose numbers begin so")
arguments = parser.parse_args()
near = arguments.direct or arguments.through
where = ("127.0.0.1", near, False) if near else ("api.openai.com", 443, True)


def refused(status, query):
    """The handshake is answered with this status."""
    try:
        Peer(where, query).close()
    except Refused as answer:
        if f" {status} " not in f"{answer} ":
            raise Failed(f"expected the status {status}, saw {answer}") from None
    else:
        raise Failed("the handshake succeeded")


def run(steps, offer, query, only_through):
    if isinstance(only_through, str):
        return refused(only_through, query)
    peer = Peer(where, query, offer)
    try:
        for step in steps:
            step(peer, bool(arguments.direct))
    finally:
        peer.close()


websocket_cases.collect()
failed = 0
for number, what, steps, offer, query, only_through in CASES:
    if only_through and arguments.direct:
        continue
    if arguments.prefixes and not number.startswith(tuple(arguments.prefixes)):
        continue
    started = time.monotonic()
    try:
        run(steps, offer, query, only_through)
        reason = None
    except Exception as error:  # A case that breaks in whatever way has failed; the others go on.
        reason = str(error) if isinstance(error, Failed) else repr(error)
        failed += 1
    report = {"case": number, "what": what, "passed": reason is None, "ms": round((time.monotonic() - started) * 1000)}
    print(json.dumps(report | ({"reason": reason} if reason else {})), flush=True)
sys.exit(1 if failed else 0)
