"""h2_compare.py SEED DIRECT LAB [h1]: compare.py over HTTP/2: the same header list (order within a name), body and trailers. With
`h1` the origin in the lab spoke HTTP/1.1, and the interceptor had to translate.

The documented differences are:

  - Alt-Svc is removed from answers;
  - a request that is not whole does not leave;
  - where the origin resets a stream before its answer, the client is told so in the provider's words; in its answer, the
    client's stream is reset too.
"""

import collections
import hashlib
import json
import sys

import plan
import translated

SEED = sys.argv[1]


def read(path):
    seen = collections.defaultdict(list)
    with open(path) as lines:
        for line in map(json.loads, lines):
            seen[line.pop("number")].append(line)
    return seen


def request_differs(exchange, direct, lab):
    if exchange.cut == "client-request":
        return "a request that was given up left" if any(seen["end"] == "whole" for seen in lab) else None
    return None if direct == lab else "the origin saw another request"


def response_differs(exchange, direct, lab):
    if len(direct) != 1 or len(lab) != 1:
        return f"seen {len(direct)} times directly, {len(lab)} times in the lab"
    direct, lab = dict(direct[0]), dict(lab[0])
    if exchange.cut == "client-request":
        return None
    direct["headers"] = {name: values for name, values in direct["headers"].items() if name != "alt-svc"}
    told = lab["headers"].get(":status") == ["502"] and "x-interceptor-audit-id" in lab["headers"]
    if exchange.cut == "origin-silent":
        return None if told else "the client was not told that the origin gave no answer"
    if exchange.cut == "client-response":
        same = all(direct[key] == lab[key] for key in ("headers", "interim"))
        return None if same else "another head"
    if exchange.cut.startswith("origin"):
        # How much of it comes before the reset is a matter of windows, and the reset may overtake the head (RFC 9113, 5.4.2).
        if lab["end"] == "whole":
            return None if told else "a broken answer came across as a whole one"
        begun = hashlib.sha256(exchange.response.content[: lab["bytes"]]).hexdigest()
        overtaken = not lab["headers"] and not lab["bytes"]
        return None if overtaken or direct["headers"] == lab["headers"] and lab["digest"] == begun else "another answer"
    differing = [key for key in direct if direct[key] != lab[key]]
    return f"another answer: {', '.join(differing)}" if differing else None


def translate(direct, lab):
    """Everything in words that suit both versions."""
    for side in (direct["origin"], direct["client"], lab["client"]):
        for number, seen in side.items():
            side[number] = [translated.described(one) for one in seen]
    for number, seen in lab["origin"].items():
        lab["origin"][number] = [translated.arrived(one, plan.plan(SEED, number)) for one in seen]


def main():
    direct, lab = ({side: read(f"{at}/{side}") for side in ("origin", "client")} for at in sys.argv[2:4])
    if "h1" in sys.argv[4:]:
        translate(direct, lab)
    numbers, counts, wrong = sorted(direct["client"]), collections.Counter(), []
    for number in numbers:
        exchange = plan.plan(SEED, number)
        # What only HTTP/1.1 has would be counted in vain.
        counts.update(kind for kind in exchange.kinds() if not kind.startswith(("version", "pipelined", "last", "expects")))
        for side, differs in (("origin", request_differs), ("client", response_differs)):
            was, came = direct[side][number], lab[side][number]
            why = differs(exchange, was, came)
            if why:
                wrong.append((exchange, why, was, came))
    for kind, count in sorted(counts.items()):
        print(f"{count:6} {kind}")
    way = "from HTTP/2 to HTTP/1.1" if sys.argv[4:] else "over HTTP/2"
    print(f"{len(numbers):6} exchanges {way}, seed {SEED}: {len(wrong)} differences")
    for exchange, why, was, came in wrong[:10]:
        print(f"\n{why}\n  {exchange.number, exchange.method, exchange.target[:80], exchange.cut}")
        print(f"  directly {json.dumps(was)[:1500]}\n  lab      {json.dumps(came)[:1500]}")
    reasons = collections.Counter(why for _, why, _, _ in wrong)
    print(dict(reasons) if reasons else "")
    sys.exit(bool(wrong) or not numbers)


main()
