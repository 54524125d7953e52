"""compare.py SEED DIRECT LAB: what each side saw of the exchanges sent directly, against those sent through the interceptor.

DIRECT and LAB are directories with `origin` and `client`, lines of JSON. Prints what was compared, by kind, and what differs;
fails when anything does that is not one of the documented differences:

  - Alt-Svc is removed from answers, and the interceptor gives `100 Continue` itself;
  - chunk extensions of requests, which nobody scans, do not leave: such a body is framed anew;
  - a request that is not whole does not leave;
  - where the origin says nothing, or breaks off inside the head, the client is told so in the provider's words.
"""

import collections
import hashlib
import json
import re
import sys

import h1
import plan

SEED = sys.argv[1]
CONTINUE = re.compile(r"HTTP/1\.1 100 [^\r]*\r\n\r\n")
ALT_SVC = re.compile(r"(?<=\r\n)alt-svc:[^\r]*\r\n", re.IGNORECASE)


def read(path):
    seen = collections.defaultdict(list)
    with open(path) as lines:
        for line in map(json.loads, lines):
            seen[line.pop("number")].append(line)
    return seen


def wanted_request(exchange, direct):
    """What the origin must have seen through the interceptor, from what it saw without."""
    if exchange.cut == "client-request":
        return []
    if exchange.request.extensions and direct:
        (head, body), (only,) = h1.request_bytes(exchange), direct
        content, trailers = h1.decoded(body)
        body = (b"%x\r\n%s\r\n" % (len(content), content) if content else b"") + b"0\r\n" + trailers
        digest = hashlib.sha256(body).hexdigest()
        return [{**only, "bytes": len(body), "digest": digest, "start": body[:200].decode("latin-1")}]
    return direct


def response_differs(exchange, direct, lab):
    """Why the client of the interceptor saw something else than it may."""
    if len(direct) != 1 or len(lab) != 1:
        return f"seen {len(direct)} times directly, {len(lab)} times in the lab"
    (direct,), (lab,) = direct, lab
    if exchange.expects and len(CONTINUE.findall(lab["head"])) != 1:
        return "not one 100 Continue"
    direct_head, lab_head = (CONTINUE.sub("", side["head"]) for side in (direct, lab))
    direct_head = ALT_SVC.sub("", direct_head)
    if exchange.cut == "client-request":
        return None
    if exchange.cut.startswith("origin"):
        return cut_differs(exchange, direct, direct_head, lab, lab_head)
    if direct_head != lab_head:
        return "another head"
    if exchange.cut == "client-response":
        return None
    return None if all(direct[key] == lab[key] for key in ("bytes", "digest", "end")) else "another body"


def cut_differs(exchange, direct, direct_head, lab, lab_head):
    _, head, _ = h1.response_bytes(exchange)
    if "\r\n\r\n" not in direct_head or not direct_head.endswith(ALT_SVC.sub("", head.decode("latin-1"))):
        # A reset may throw away more of it on one way than on the other.
        told = re.search(r"HTTP/1\.1 502 [^\x00]*interceptor", lab_head)
        return None if told else "the client was not told that the origin broke off in the head"
    if exchange.cut == "origin-reset":
        return "a reset came across as an end" if lab["end"] == "whole" and lab["head"] == direct["head"] else None
    if lab["end"] != "cut":
        return "a broken answer came across as a whole one"
    if direct_head != lab_head:
        return "another head before the break"
    return None if (direct["bytes"], direct["digest"]) == (lab["bytes"], lab["digest"]) else "another body before the break"


def main():
    direct, lab = ({side: read(f"{at}/{side}") for side in ("origin", "client")} for at in sys.argv[2:4])
    numbers = sorted(number for number in direct["client"] if number is not None)
    counts, wrong = collections.Counter(), []
    for number in numbers:
        exchange = plan.plan(SEED, number)
        counts.update(exchange.kinds())
        wanted, got = wanted_request(exchange, direct["origin"][number]), lab["origin"][number]
        if wanted != got:
            wrong.append((exchange, "the origin saw another request", wanted, got))
        why = response_differs(exchange, direct["client"][number], lab["client"][number])
        if why:
            wrong.append((exchange, why, direct["client"][number], lab["client"][number]))
    if lab["origin"].get(None):
        wrong.append((None, "the origin got something that was no request", None, lab["origin"][None]))
    for kind, count in sorted(counts.items()):
        print(f"{count:6} {kind}")
    print(f"{len(numbers):6} exchanges, seed {SEED}: {len(wrong)} differences")
    for exchange, why, was, came in wrong[:10]:
        print(f"\n{why}\n  {exchange and (exchange.number, exchange.method, exchange.target[:80], exchange.cut)}")
        print(f"  directly {json.dumps(was)[:1500]}\n  lab      {json.dumps(came)[:1500]}")
    reasons = collections.Counter(why for _, why, _, _ in wrong)
    print(dict(reasons) if reasons else "")
    sys.exit(bool(wrong) or not numbers)


main()
