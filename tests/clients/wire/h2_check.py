"""h2_check.py SENT ARRIVED: what of h2_smuggling.py arrived over HTTP/2; fails when a server could take it for something else.

SENT is what h2_smuggling.py printed, ARRIVED what h2_raw_origin.py kept.
"""

import collections
import json
import re
import sys

import corpus

PSEUDO = [":method", ":scheme", ":authority", ":path"]
FORBIDDEN = {
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content_length", "transfer_encoding",
}
TOKEN = re.compile(r":?[!#$%&'*+.^_`|~0-9a-z-]+\Z")


def faults(request):
    """What is wrong with a request that arrived."""
    names = collections.Counter(name for name, _ in request["headers"])
    values = dict(request["headers"])
    for name, value in request["headers"] + request["trailers"]:
        if not TOKEN.match(name) or name.startswith(":") and name not in PSEUDO:
            yield f"the name {name!r}"
        if name in FORBIDDEN or name == "te" and value != "trailers":
            yield f"{name}: {value}"
        if re.search(r"[\r\n\0]|^[ \t]|[ \t]$", value):
            yield f"the value {value[:40]!r}"
    if any(names[name] != 1 for name in PSEUDO) or any(name.startswith(":") for name, _ in request["trailers"]):
        yield "its pseudo fields"
    if not re.match(r"/[^\s#]*\Z", values.get(":path", "")) or "smuggled" in values.get(":path", ""):
        yield f"the path {values.get(':path')!r}"
    if not re.match(r"[A-Z]+\Z", values.get(":method", "")):
        yield f"the method {values.get(':method')!r}"
    if values.get(":authority") != corpus.HOST or values.get("host", corpus.HOST) != corpus.HOST or names["host"] > 1:
        yield "its authority"
    lengths = [value for name, value in request["headers"] if name == "content-length"]
    if request["whole"] and lengths and lengths != [str(request["bytes"])]:
        yield f"content-length {lengths} with {request['bytes']} bytes"
    if any(name in ("content-length", "host", "content-type") for name, _ in request["trailers"]):
        yield "framing in trailers"


def main():
    with open(sys.argv[1]) as lines:
        sent = list(map(json.loads, lines))
    arrived = collections.defaultdict(list)
    with open(sys.argv[2]) as lines:
        for request in map(json.loads, lines):
            arrived[dict(request["headers"]).get(":path", "")].append(request)
    wrong = [f"{path}: {fault}" for path, requests in arrived.items() for request in requests for fault in faults(request)]
    for case in sent:
        requests = [request for path, found in arrived.items() if f"/case/{case['number']}" in path for request in found]
        if len(requests) > 1:
            wrong.append(f"{case['name']}: {len(requests)} requests")
        outcome = "; ".join(fault for request in requests for fault in faults(request)) or ("one request" if requests else "nothing")
        print(f"{case['number']} {case['name']:36} {case['seen']:22} {outcome}")
    print(f"{len(sent)} cases, {len(wrong)} faults")
    print("\n".join(wrong))
    sys.exit(bool(wrong) or len(sent) < 30 or not arrived)


main()
