"""smuggling.py send                     in the lab: sends the corpus, a connection each; one line of JSON for each case
smuggling.py check SENT RAW RECORDS [careless | h2]  what of it arrived, as careless servers read it; fails when two requests did

SENT is what `send` (with `h2`, h2_smuggling.py) printed, RAW the directory of raw_origin.py, RECORDS the audit log's, a line of
JSON each.
"""

import collections
import concurrent.futures
import glob
import json
import socket
import ssl
import sys

import corpus
import h2_smuggling

TLS = ssl.create_default_context()


def send(case):
    seen = b""
    with socket.create_connection((corpus.HOST, 443), 20) as sock:
        with TLS.wrap_socket(sock, server_hostname=corpus.HOST) as session:
            try:
                session.sendall(case["bytes"])
                session.settimeout(3)
                while piece := session.recv(65536):
                    seen += piece
            except TimeoutError:
                seen += b"<silence>"
            except OSError as error:
                seen += f"<{type(error).__name__}>".encode()
    statuses = [line.split(b" ")[1].decode() for line in seen.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return {"number": case["number"], "seen": ", ".join(statuses) or seen[:60].decode("latin-1") or "closed"}


def send_all():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for result in pool.map(send, corpus.cases()):
            print(json.dumps(result), flush=True)


def check(sent, raw, records, careless, h2):
    with open(sent) as lines:
        seen = {line["number"]: line["seen"] for line in map(json.loads, lines)}
    with open(records) as lines:
        recorded = collections.Counter(json.loads(line)["request"]["path"] for line in lines)
    arrived = []
    for path in glob.glob(f"{raw}/*.raw"):
        with open(path, "rb") as file:
            arrived.append(file.read())
    parsers = corpus.PARSERS + (corpus.CARELESS if careless else [])
    views = {}
    for parser in parsers:
        views[parser.name] = collections.Counter(target for data in arrived for _, target in parser.requests(data))
    wrong = []
    cases = list(corpus.cases())
    if h2:
        cases = [{"number": number, "name": name, "pipelined": False} for number, name, *_ in h2_smuggling.cases()]
    for case in cases:
        number = case["number"]
        own, smuggled = f"/case/{number}", f"/smuggled/{number}"
        outcome = "one request" if any(f"{own} ".encode() in data for data in arrived) else "nothing"
        for name, counts in views.items():
            if case["pipelined"]:
                bad = counts[own] > recorded[own] or counts[smuggled] > recorded[smuggled]
                outcome = "two requests, two records" if counts[smuggled] and not bad else outcome
            else:
                bad = counts[own] > 1 or counts[smuggled] > 0
            if bad:
                outcome = f"SMUGGLED past a server that reads {name}"
                wrong.append(case["name"])
                break
        print(f"{number:3} {case['name']:42} {seen.get(number, 'not sent'):22} {outcome}")
    direct = sum(
        any(target == f"/smuggled/{case['number']}" for parser in parsers for _, target in parser.requests(case["bytes"]))
        for case in cases
        if not h2
    )
    without = "" if h2 else f" ({direct} without the interceptor)"
    print(f"{len(seen)} cases, {len(wrong)} smuggled{without}, {len(parsers)} readings")
    # A corpus of which nothing arrives, not even what is beyond doubt, shows nothing.
    passed = any(b"/case/" in data for data in arrived)
    sys.exit(bool(wrong) or len(seen) < 40 or not (h2 or direct >= 40) or not passed)


def main():
    if sys.argv[1] == "send":
        send_all()
    else:
        check(*sys.argv[2:5], careless="careless" in sys.argv[5:], h2="h2" in sys.argv[5:])


main()
