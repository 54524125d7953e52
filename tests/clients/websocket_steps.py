"""What the cases of websocket_suite.py are made of: frames, and steps that send or expect something."""

from websocket_peer import frame

TEXT, BINARY, MORE, CLOSE, PING, PONG = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8A
FIRST, FIRST_BINARY, MIDDLE = 0x01, 0x02, 0x00

CASES = []


class Failed(Exception):
    """Something else was seen than is right."""


def case(number, what, *steps, offer=None, query="", only_through=False):
    CASES.append((number, what, steps, offer, query, only_through))


# Steps


def send(*frames, chop=None):
    return lambda peer, direct: peer.write(*frames, chop=chop)


def say(message, fragment=None):
    return lambda peer, direct: peer.say(message, fragment)


def shown(seen):
    def short(part):
        return f"{part[:40]!r}... of {len(part)}" if isinstance(part, str | bytes) and len(part) > 80 else part

    return tuple(short(part) for part in seen)


def hear(*expected):
    def step(peer, direct):
        for wanted in expected:
            seen = peer.hear()
            if seen != wanted:
                raise Failed(f"expected {shown(wanted)}, saw {shown(seen)}")

    return step


def fails(code):
    """The server closes with this code, and the connection ends."""

    def step(peer, direct):
        seen = peer.hear()
        if seen[:2] != ("close", code):
            raise Failed(f"expected a close frame with {code}, saw {shown(seen)}")
        seen = peer.hear()
        if seen not in (("end",), ("reset",)):
            raise Failed(f"expected the end, saw {shown(seen)}")

    return step


def fails_at_once(code, rest):
    """As `fails`, before the rest of the message was sent. Servers may wait for it."""

    def step(peer, direct):
        if direct:
            peer.write(rest)
        fails(code)(peer, direct)

    return step


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


BYE = [send(close(1000)), hear(("close", 1000, ""), ("end",))]


def kind_of(payload):
    return "text" if isinstance(payload, str) else "binary"


def raw(payload):
    return payload.encode() if isinstance(payload, str) else payload


def whole(payload):
    return frame(TEXT if isinstance(payload, str) else BINARY, raw(payload))


def fragments(payload, size):
    data, first = raw(payload), FIRST if isinstance(payload, str) else FIRST_BINARY
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    last = len(pieces) - 1
    return [
        frame((first if at == 0 else MIDDLE) | (0x80 if at == last else 0), piece) for at, piece in enumerate(pieces)
    ]


def echoed(payload):
    return hear((kind_of(payload), payload))


def lazily(make, *arguments, chop=None):
    def step(peer, direct):
        made = make(*arguments)
        peer.write(*(made if isinstance(made, list) else [made]), chop=chop)

    return step


def only_closes(*codes):
    def step(peer, direct):
        seen = peer.hear()
        if seen[0] != "close" or seen[1] not in codes:
            raise Failed(f"expected a close frame with one of {codes}, saw {shown(seen)}")

    return step
