"""The cases of websocket_suite.py, in the sections of the Autobahn test suite, each a list of steps.

What a step expects is what a client sees of a strict server that says back what it is told. Through the interceptor the
strictness is the interceptor's own: no deviation reaches the server.
"""

import json
import os
import random
import zlib

from websocket_peer import frame
from websocket_steps import (
    BINARY,
    BYE,
    CLOSE,
    FIRST,
    MIDDLE,
    MORE,
    PING,
    PONG,
    TEXT,
    Failed,
    case,
    close,
    echoed,
    fails,
    fragments,
    hear,
    kind_of,
    lazily,
    only_closes,
    say,
    send,
    shown,
    whole,
)
from websocket_text import BROKEN, utf8

CHOPS = [("in one write", None), ("in a write a byte", 1)]


def framing():
    for section, letter in (("1.1", "*"), ("1.2", b"\xfe")):
        for at, size in enumerate([0, 125, 126, 127, 128, 65535, 65536, 65536], 1):
            chop = 997 if at == 8 else None
            payload = letter * size
            case(
                f"{section}.{at}",
                f"{kind_of(payload)} of {size} bytes" + (f" in writes of {chop}" if chop else ""),
                send(whole(payload), chop=chop),
                echoed(payload),
                *BYE,
            )


def pings():
    for at, (what, payload) in enumerate(
        [
            ("without payload", b""),
            ("with text", b"Hello, world!"),
            ("with bytes", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
            ("of 125 bytes", b"\xfe" * 125),
        ],
        1,
    ):
        case(f"2.{at}", f"a ping {what}", send(frame(PING, payload)), hear(("pong", payload)), *BYE)
    case("2.5", "a ping of 126 bytes", send(frame(PING, b"\xfe" * 126)), fails(1002))
    case(
        "2.6",
        "a ping of 125 bytes in a write a byte",
        send(frame(PING, b"\xfe" * 125), chop=1),
        hear(("pong", b"\xfe" * 125)),
        *BYE,
    )
    case("2.7", "a pong nobody asked for", send(frame(PONG)), *BYE)
    case("2.8", "a pong nobody asked for, with payload", send(frame(PONG, b"unsolicited")), *BYE)
    case(
        "2.9",
        "a pong nobody asked for, and a ping",
        send(frame(PONG, b"unsolicited"), frame(PING, b"ping")),
        hear(("pong", b"ping")),
        *BYE,
    )
    ten = [f"payload-{n}".encode() for n in range(10)]
    for at, (what, chop) in enumerate(CHOPS, 10):
        case(
            f"2.{at}",
            f"ten pings {what}",
            send(*[frame(PING, payload) for payload in ten], chop=chop),
            hear(*[("pong", payload) for payload in ten]),
            *BYE,
        )


def reserved_bits():
    good = [send(whole("Hello")), echoed("Hello")]
    case("3.1", "text with the third reserved bit", send(frame(TEXT | 0x10, b"Hello")), fails(1002))
    case("3.2", "text, then text with the second", *good, send(frame(TEXT | 0x20, b"Hello"), frame(PING)), fails(1002))
    case(
        "3.3",
        "text, then text with two bits",
        *good,
        send(frame(TEXT | 0x30, b"Hello")),
        send(frame(PING)),
        fails(1002),
    )
    case(
        "3.4",
        "text with the bit of compression, which was not agreed on, a byte a write",
        *good,
        send(frame(TEXT | 0x40, b"Hello"), frame(PING), chop=1),
        fails(1002),
    )
    case("3.5", "binary with two bits", send(frame(BINARY | 0x50, b"\x00\xff")), fails(1002))
    case("3.6", "a ping with two bits", send(frame(PING | 0x60, b"Hello")), fails(1002))
    case("3.7", "a close frame with all bits", send(frame(CLOSE | 0x70, b"\x03\xe8")), fails(1002))


def opcodes():
    for section, codes in (("4.1", range(3, 8)), ("4.2", range(11, 16))):
        for at, code in enumerate(codes, 1):
            before = [] if at < 3 else [send(whole("Hello")), echoed("Hello")]
            payload = b"" if at in (1, 3) else b"reserved"
            chop = 1 if at == 5 else None
            case(
                f"{section}.{at}",
                f"the opcode {code}",
                *before,
                send(frame(0x80 | code, payload), frame(PING), chop=chop),
                fails(1002),
            )


def fragmentation():
    case("5.1", "a ping in two fragments", send(frame(0x09, b"frag1"), frame(MORE, b"frag2")), fails(1002))
    case("5.2", "a pong in two fragments", send(frame(0x0A, b"frag1"), frame(MORE, b"frag2")), fails(1002))
    halves = [frame(FIRST, b"fragment1"), frame(MORE, b"fragment2")]

    def each(frames):
        return [send(one) for one in frames]

    def ways(frames):
        return [[send(*frames)], each(frames), [send(*frames, chop=1)]]

    for at, steps in enumerate(ways(halves), 3):
        case(f"5.{at}", "text in two fragments", *steps, echoed("fragment1fragment2"), *BYE)
    between = [halves[0], frame(PING, b"ping"), halves[1]]
    for at, steps in enumerate(ways(between), 6):
        case(
            f"5.{at}",
            "a ping between two fragments",
            *steps,
            hear(("pong", b"ping")),
            echoed("fragment1fragment2"),
            *BYE,
        )
    for first, name in ((MORE, "final"), (MIDDLE, "unfinished")):
        stray = [frame(first, b"non-continuation payload"), whole("Hello, world!")]
        for at, steps in enumerate(ways(stray), 9 if first == MORE else 12):
            case(f"5.{at}", f"a {name} continuation of nothing", *steps, fails(1002))
    case(
        "5.15",
        "a message in two fragments, a continuation of nothing, a message",
        send(*halves),
        echoed("fragment1fragment2"),
        send(frame(MIDDLE, b"fragment3"), whole("fragment4")),
        fails(1002),
    )
    for at, first, name in ((16, MIDDLE, "unfinished"), (17, MORE, "final")):
        case(
            f"5.{at}",
            f"an {name} continuation of nothing, then a message in fragments, twice",
            send(*[frame(first, b"fragment1"), *halves] * 2),
            fails(1002),
        )
    case(
        "5.18",
        "a second beginning within a message",
        send(frame(FIRST, b"fragment1"), frame(TEXT, b"fragment2")),
        fails(1002),
    )
    case("5.18b", "binary within text", send(frame(FIRST, b"fragment1"), frame(BINARY, b"fragment2")), fails(1002))
    five = [f"fragment{n}" for n in range(1, 6)]
    frames = [
        frame(FIRST, b"fragment1"),
        frame(MIDDLE, b"fragment2"),
        frame(PING, b"pongme 1!"),
        frame(MIDDLE, b"fragment3"),
        frame(MIDDLE, b"fragment4"),
        frame(PING, b"pongme 2!"),
        frame(MORE, b"fragment5"),
    ]
    first_half = [*each(frames[:3]), hear(("pong", b"pongme 1!"))]
    case(
        "5.19",
        "five fragments with pings, the rest when the first is answered",
        *first_half,
        *each(frames[3:]),
        hear(("pong", b"pongme 2!")),
        echoed("".join(five)),
        *BYE,
    )
    case(
        "5.20",
        "five fragments with pings at once",
        send(*frames),
        hear(("pong", b"pongme 1!"), ("pong", b"pongme 2!")),
        echoed("".join(five)),
        *BYE,
    )


def closing():
    case("7.1.1", "a message, then goodbye", send(whole("Hello World!")), echoed("Hello World!"), *BYE)
    case("7.1.2", "goodbye twice", send(close(1000), close(1000)), hear(("close", 1000, ""), ("end",)))
    case("7.1.3", "a ping behind goodbye", send(close(1000), frame(PING)), hear(("close", 1000, ""), ("end",)))
    case("7.1.4", "text behind goodbye", send(close(1000), whole("Hello World!")), hear(("close", 1000, ""), ("end",)))
    # To the echo server it is a fault that the message is not finished. Through the interceptor it sees nothing of it.
    case(
        "7.1.5",
        "goodbye within a message",
        send(frame(FIRST, b"fragment1"), close(1000), frame(MORE, b"fragment2")),
        lambda peer, direct: (fails(1002) if direct else hear(("close", 1000, ""), ("end",)))(peer, direct),
    )
    large = "BAsd7&jh23" * 26 * 1024
    case(
        "7.1.6",
        "260 KiB, goodbye, a ping",
        send(whole(large)),
        echoed(large),
        send(close(1000), frame(PING)),
        hear(("close", 1000, ""), ("end",)),
    )
    case("7.3.1", "goodbye without a code", send(close()), hear(("close", None, ""), ("end",)))
    case("7.3.2", "goodbye with half a code", send(frame(CLOSE, b"a")), fails(1002))
    case("7.3.3", "goodbye with a code", *BYE)
    case(
        "7.3.4",
        "goodbye with a reason",
        send(close(1000, b"Hello World!")),
        hear(("close", 1000, "Hello World!"), ("end",)),
    )
    case(
        "7.3.5",
        "goodbye with the longest reason",
        send(close(1000, b"*" * 123)),
        hear(("close", 1000, "*" * 123), ("end",)),
    )
    case("7.3.6", "goodbye with a longer one", send(close(1000, b"*" * 124)), fails(1002))
    case("7.5.1", "a reason that is not UTF-8", send(close(1000, BROKEN)), fails(1007))
    # 1014 may be sent too, but the library that reads for this suite does not know it.
    for at, code in enumerate(
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999], 1
    ):
        case(f"7.7.{at}", f"the code {code}", send(close(code)), hear(("close", code, ""), ("end",)))
    for at, code in enumerate([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535], 1):
        case(f"7.9.{at}", f"the code {code}, which may not be sent", send(close(code)), fails(1002))


def limits():
    sizes = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20]
    for section, letter in (("9.1", "*"), ("9.2", b"\xfe")):
        for at, size in enumerate(sizes, 1):
            payload = letter * size
            case(
                f"{section}.{at}",
                f"{kind_of(payload)} of {size >> 10} KiB",
                lazily(whole, payload),
                echoed(payload),
                *BYE,
            )
    for section, letter in (("9.3", "*"), ("9.4", b"\xfe")):
        payload = letter * (4 << 20)
        for at, size in enumerate([64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20], 1):
            case(
                f"{section}.{at}",
                f"{kind_of(payload)} of 4 MiB in fragments of {size}",
                lazily(fragments, payload, size),
                echoed(payload),
                *BYE,
            )
    for section, letter in (("9.5", "*"), ("9.6", b"\xfe")):
        payload = letter * (1 << 20)
        for at, chop in enumerate([64, 128, 256, 512, 1024, 2048], 1):
            case(
                f"{section}.{at}",
                f"{kind_of(payload)} of 1 MiB in writes of {chop}",
                lazily(whole, payload, chop=chop),
                echoed(payload),
                *BYE,
            )
    for section, letter in (("9.7", "*"), ("9.8", b"\xfe")):
        for at, size in enumerate([0, 16, 64, 256, 1024, 4096], 1):
            payload = letter * size
            case(
                f"{section}.{at}",
                f"20 times {size} bytes of {kind_of(payload)}, there and back",
                *[send(whole(payload)), echoed(payload)] * 20,
                *BYE,
            )
    case(
        "9.9",
        "100 messages at once",
        send(*[whole(str(n)) for n in range(100)]),
        hear(*[("text", str(n)) for n in range(100)]),
        *BYE,
    )


WORDS = "the quick brown fox jumps over a lazy dog while nobody looks at it from behind the fence".split()
SIZES = [0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]


def prose(size):
    chosen = random.Random(size)
    return " ".join(chosen.choice(WORDS) for _ in range(size // 4 + 1))[:size]


def document(size):
    chosen = random.Random(size)
    rows = [{"name": chosen.choice(WORDS), "note": " ".join(chosen.choices(WORDS, k=5))} for _ in range(size // 60 + 1)]
    return json.dumps({"rows": rows})[: max(size, 2)]


CONTENTS = [
    ("prose", prose),
    ("JSON", document),
    ("bytes that do not compress", lambda size: os.urandom(size)),
    ("one letter", lambda size: "z" * size),
]

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=15; client_no_context_takeover",
    "permessage-deflate; client_max_window_bits; server_max_window_bits=10; server_no_context_takeover",
    "permessage-deflate; unknown_parameter, permessage-deflate; client_max_window_bits=12",
]


def agreed(peer, direct):
    if peer.agreed is None:
        raise Failed("compression was not agreed on")


def compression():
    for section, (what, make) in enumerate(CONTENTS, 1):
        for at, size in enumerate(SIZES, 1):
            payload = make(size)
            for letter, fragment in (("", None), ("f", 500)):
                steps = [say(payload, fragment), echoed(payload)] * 4
                case(
                    f"12.{section}.{at}{letter}",
                    f"four times {size} bytes of {what}" + (" in fragments" if fragment else ""),
                    agreed,
                    *steps,
                    *BYE,
                    offer=OFFERS[0],
                )
    for section, offer in enumerate(OFFERS, 1):
        for at, size in enumerate(SIZES, 1):
            payload, other = prose(size), document(size)
            steps = [say(payload), echoed(payload), say(other, 1000), echoed(other)] * 2
            case(f"13.{section}.{at}", f"{size} bytes, {offer}", agreed, *steps, *BYE, offer=offer)
    plain = [send(whole("not compressed")), echoed("not compressed")]
    case(
        "13.9.1",
        "uncompressed messages among compressed ones",
        agreed,
        *[*plain, say("compressed " * 20), echoed("compressed " * 20)] * 5,
        *BYE,
        offer=OFFERS[0],
    )
    case(
        "13.9.2",
        "a continuation with the bit of compression",
        agreed,
        send(frame(0x41, b"\xf2\x48"), frame(0xC0, b"\xcd")),
        fails(1002),
        offer=OFFERS[0],
    )
    case("13.9.3", "a ping with the bit of compression", agreed, send(frame(PING | 0x40)), fails(1002), offer=OFFERS[0])
    case(
        "13.9.4",
        "what cannot be inflated",
        agreed,
        send(frame(0xC1, b"\xff\xff\xff\xff")),
        only_closes(1002, 1007),
        offer=OFFERS[0],
    )
    case(
        "13.9.5",
        "compressed text that is not UTF-8",
        agreed,
        lambda peer, direct: peer.write(compressed(BROKEN)),
        fails(1007),
        offer=OFFERS[0],
    )
    case(
        "13.9.6", "compression that was not agreed on", send(frame(0xC1, b"\xf2\x48\xcd\xc9\xc9\x07\x00")), fails(1002)
    )
    case(
        "13.9.7",
        "stored blocks, and several in a message",
        agreed,
        send(frame(0xC1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")),
        echoed("Hello"),
        send(frame(0xC1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")),
        echoed("Hello"),
        *BYE,
        offer=OFFERS[0],
    )


def compressed(data):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return frame(0xC1, compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4])


# What the echo server sends instead of an echo; see websocket_echo.py.
WRONG = [
    "masked",
    "opcode",
    "control-opcode",
    "reserved-bit",
    "compressed-unasked",
    "long-ping",
    "fragmented-ping",
    "continuation",
    "interrupted",
    "length",
    "utf8",
    "cut-character",
    "close-code",
    "close-length",
    "inflate",
    "bomb",
]


def endpoint():
    for at, size in enumerate([10, 1000, 100_000], 1):
        payload, fragment = prose(size), 7 if size < 1000 else size // 10
        seen = [("ping", str(start).encode()) for start in range(0, size, fragment)] + [("text", payload)]
        case(
            f"20.1.{at}",
            f"{size} characters come back in fragments of {fragment}, pings between them",
            send(whole(payload)),
            hear(*seen),
            *BYE,
            query=f"?fragments={fragment}",
        )
    for at, name in enumerate(WRONG, 1):
        offer = OFFERS[0] if name in ("inflate", "bomb") else None
        case(
            f"21.{at}",
            f"the endpoint breaks the protocol: {name}",
            fails(1011),
            query=f"?first={name}",
            offer=offer,
            only_through=True,
        )
    for at, name in enumerate(["accept", "extension", "subprotocol"], 1):
        case(f"22.{at}", f"the endpoint agrees to something else: {name}", query=f"?first={name}", only_through="502")


SECRET = "4111 1111 1111 1111"


def event(text):
    content = [{"type": "input_text", "text": text}]
    return json.dumps(
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    )


def masked(text):
    """The echo of `event(text)` has the same words, but for the secret."""

    def step(peer, direct):
        seen = peer.hear()
        if seen[0] != "text":
            raise Failed(f"expected text, saw {shown(seen)}")
        said = json.loads(seen[1])["item"]["content"][0]["text"]
        before, after = text.split(SECRET)
        if not said.startswith(before + "[CARD_") or not said.endswith("]" + after):
            raise Failed(f"the secret came back, or other words: {said[:200]!r}")

    return step


def masking():
    text, plain = f"my card is {SECRET}, charge it", event("my card is as I said, charge it")
    for at, offer in enumerate([None, *OFFERS[:7]], 1):
        talk = [say(plain), echoed(plain), say(event(text)), masked(text), say(plain), echoed(plain)]
        case(f"30.1.{at}", f"a secret among other messages, {offer}", *talk * 3, *BYE, offer=offer, only_through=True)
        talk = [say(event(text), 5), masked(text), say(plain, 100), echoed(plain)]
        case(f"30.2.{at}", f"a secret cut in fragments, {offer}", *talk * 3, *BYE, offer=offer, only_through=True)
    mixed = [
        say(plain),
        echoed(plain),
        send(whole(event(text))),
        masked(text),
        say(plain),
        echoed(plain),
        say(event(text)),
        masked(text),
        send(whole(plain)),
        echoed(plain),
        say(plain),
        echoed(plain),
    ]
    case("30.3", "compressed and not, masked and not", *mixed * 3, *BYE, offer=OFFERS[0], only_through=True)


def collect():
    """Fills the list of cases, in order."""
    for section in (
        framing,
        pings,
        reserved_bits,
        opcodes,
        fragmentation,
        utf8,
        closing,
        limits,
        compression,
        endpoint,
        masking,
    ):
        section()
