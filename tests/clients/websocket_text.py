"""The cases of websocket_suite.py about UTF-8: section 6."""

from websocket_peer import frame
from websocket_steps import BYE, FIRST, MIDDLE, MORE, TEXT, case, echoed, fails, fails_at_once, fragments, send, whole

KOSME = "κόσμε"
BROKEN = KOSME.encode() + b"\xed\xa0\x80edited"

VALID = {
    "6.5": [
        ("ASCII", "hello"),
        ("two bytes", "hello\xa2world"),
        ("three bytes", "hello\u20acworld"),
        ("four bytes", "hello\U00024b62world"),
        ("Greek", KOSME),
    ],
    "6.7": [("the first of one byte", "\0"), ("of two", "\x80"), ("of three", "\u0800"), ("of four", "\U00010000")],
    "6.9": [("the last of one byte", "\x7f"), ("of two", "\u07ff"), ("of three", "\uffff"), ("of four", "\U0010ffff")],
    "6.11": [
        ("below surrogates", "\ud7ff"),
        ("above surrogates", "\ue000"),
        ("replacement", "\ufffd"),
        ("the last of all", "\U0010ffff"),
    ],
    "6.22": [
        (f"no character U+{plane << 16 | end:X}", chr(plane << 16 | end))
        for plane in range(17)
        for end in (0xFFFE, 0xFFFF)
    ],
    "6.23": [(f"special U+{code:X}", chr(code)) for code in range(0xFFF9, 0xFFFE)],
}

INVALID = {
    "6.6": [(f"the first {size} bytes of a word", KOSME.encode()[:size]) for size in (1, 3, 5, 7, 9)],
    "6.8": [("the first of five bytes", b"\xf8\x88\x80\x80\x80"), ("the first of six", b"\xfc\x84\x80\x80\x80\x80")],
    "6.10": [
        ("the last of four bytes", b"\xf7\xbf\xbf\xbf"),
        ("of five", b"\xfb\xbf\xbf\xbf\xbf"),
        ("of six", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ],
    "6.11b": [("one above the last of all", b"\xf4\x90\x80\x80")],
    "6.12": [
        ("a lonely continuation", b"\x80"),
        ("another", b"\xbf"),
        *[(f"{count} continuations", b"\x80\xbf" * (count // 2) + b"\x80" * (count % 2)) for count in (2, 3, 4, 5, 6)],
        ("every continuation", bytes(range(0x80, 0xC0))),
    ],
    "6.13": [
        ("lonely starts of two", b" ".join(bytes([b]) for b in range(0xC0, 0xE0))),
        ("of three", b" ".join(bytes([b]) for b in range(0xE0, 0xF0))),
        ("of four", b" ".join(bytes([b]) for b in range(0xF0, 0xF8))),
        ("of five", b"\xf8 \xf9 \xfa \xfb "),
        ("of six", b"\xfc \xfd "),
    ],
    "6.14": [
        (f"the last byte missing of {size}", start)
        for size, start in (
            (2, b"\xc0"),
            (3, b"\xe0\x80"),
            (4, b"\xf0\x80\x80"),
            (5, b"\xf8\x80\x80\x80"),
            (6, b"\xfc\x80\x80\x80\x80"),
            (2, b"\xdf"),
            (3, b"\xef\xbf"),
            (4, b"\xf7\xbf\xbf"),
            (5, b"\xfb\xbf\xbf\xbf"),
            (6, b"\xfd\xbf\xbf\xbf\xbf"),
        )
    ],
    "6.15": [
        (
            "all of these in a row",
            b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf",
        )
    ],
    "6.16": [("FE", b"\xfe"), ("FF", b"\xff"), ("FE FE FF FF", b"\xfe\xfe\xff\xff")],
    "6.17": [
        ("a slash in two bytes", b"\xc0\xaf"),
        ("in three", b"\xe0\x80\xaf"),
        ("in four", b"\xf0\x80\x80\xaf"),
        ("in five", b"\xf8\x80\x80\x80\xaf"),
        ("in six", b"\xfc\x80\x80\x80\x80\xaf"),
    ],
    "6.18": [
        ("the largest overlong of two bytes", b"\xc1\xbf"),
        ("of three", b"\xe0\x9f\xbf"),
        ("of four", b"\xf0\x8f\xbf\xbf"),
        ("of five", b"\xf8\x87\xbf\xbf\xbf"),
        ("of six", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    ],
    "6.19": [
        ("NUL in two bytes", b"\xc0\x80"),
        ("in three", b"\xe0\x80\x80"),
        ("in four", b"\xf0\x80\x80\x80"),
        ("in five", b"\xf8\x80\x80\x80\x80"),
        ("in six", b"\xfc\x80\x80\x80\x80\x80"),
    ],
    "6.20": [
        (f"the surrogate {code:X}", chr(code).encode("utf-8", "surrogatepass"))
        for code in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
    ],
    "6.21": [
        (f"the surrogates {high:X} {low:X}", (chr(high) + chr(low)).encode("utf-8", "surrogatepass"))
        for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
        for low in (0xDC00, 0xDFFF)
    ],
}


def utf8():
    case("6.1.1", "empty text", send(whole("")), echoed(""), *BYE)
    case("6.1.2", "three empty fragments", send(frame(FIRST), frame(MIDDLE), frame(MORE)), echoed(""), *BYE)
    case(
        "6.1.3",
        "three fragments, two of them empty",
        send(frame(FIRST), frame(MIDDLE, b"middle"), frame(MORE)),
        echoed("middle"),
        *BYE,
    )
    text = "Hello-µ@ßöäüàá-UTF-8!!"
    case("6.2.1", "text in UTF-8", send(whole(text)), echoed(text), *BYE)
    case(
        "6.2.2",
        "cut between characters",
        send(frame(FIRST, "Hello-µ@ßöä".encode()), frame(MORE, "üàá-UTF-8!!".encode())),
        echoed(text),
        *BYE,
    )
    case("6.2.3", "a byte a fragment", send(*fragments(text, 1)), echoed(text), *BYE)
    case("6.2.4", "Greek, a byte a fragment", send(*fragments(KOSME, 1)), echoed(KOSME), *BYE)
    case("6.3.1", "a surrogate in the middle", send(frame(TEXT, BROKEN)), fails(1007))
    pieces = [
        frame((FIRST if at == 0 else MIDDLE) | (0x80 if at == len(BROKEN) - 1 else 0), BROKEN[at : at + 1])
        for at in range(len(BROKEN))
    ]
    case("6.3.2", "the same, a byte a fragment", send(*pieces), fails(1007))
    bad = b"\xf4\x90\x80\x80"
    case(
        "6.4.1",
        "a fragment of good text, one of bad, and no more",
        send(frame(FIRST, KOSME.encode())),
        send(frame(MIDDLE, bad)),
        fails_at_once(1007, frame(MORE, b"edited")),
    )
    case(
        "6.4.2",
        "the same, cut in the first impossible character",
        send(frame(FIRST, KOSME.encode() + b"\xf4")),
        send(frame(MIDDLE, b"\x90")),
        fails_at_once(1007, frame(MORE, b"\x80\x80edited")),
    )
    one = frame(TEXT, KOSME.encode() + bad + b"edited", key=b"\1\2\3\4")
    case("6.4.3", "a frame that is not finished", send(one[:17]), send(one[17:20]), fails_at_once(1007, one[20:]))
    case("6.4.4", "the same, a byte a write", send(one[:18], chop=1), fails_at_once(1007, one[18:]))
    for section, texts in VALID.items():
        for at, (what, text) in enumerate(texts, 1):
            case(f"{section}.{at}", what, send(whole(text)), echoed(text), *BYE)
    for section, texts in INVALID.items():
        for at, (what, data) in enumerate(texts, 1):
            case(f"{section}.{at}", what, send(frame(TEXT, data)), fails(1007))
    case("6.24", "what is no text, as binary", send(whole(BROKEN)), echoed(BROKEN), *BYE)
