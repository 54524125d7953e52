"""The corpus of smuggling.toml, with its place-holders filled in, and how a dozen careless servers would read it."""

import os
import re
import tomllib

HOST = "api.openai.com"
# So that a chunk of it has the size 0x50 whatever the case's number.
EVIL_LENGTH = 0x50


def evil(number):
    """The smuggled request."""
    start = f"GET /smuggled/{number} HTTP/1.1\r\nHost: {HOST}\r\nX: ".encode()
    return start.ljust(EVIL_LENGTH - 4, b"y") + b"\r\n\r\n"


def cases():
    with open(os.path.join(os.path.dirname(__file__), "smuggling.toml"), "rb") as file:
        found = tomllib.load(file)["case"]
    for number, case in enumerate(found, 1):
        text = case["bytes"].encode("utf-8")
        for place, value in (
            (b"@EVIL@", evil(number)), (b"@EVIL_LENGTH@", b"%d" % EVIL_LENGTH), (b"@HOST@", HOST.encode()),
            (b"@PATH@", b"/case/%d" % number),
        ):
            text = text.replace(place, value)
        yield {"framed": False, "pipelined": False, **case, "number": number, "bytes": text}


class Lenient:
    """One way to misread a stream of requests. Whatever it cannot read at all it skips, line by line."""

    def __init__(self, name, line=rb"\r\n", lengths=min, prefer="te", fold=False, underscore=False, chunked=None,
                 bodiless=(), loose_name=False):
        self.name, self.line, self.lengths, self.prefer = name, b"(?>" + line + b")", lengths, prefer
        self.fold, self.underscore, self.bodiless, self.loose_name = fold, underscore, bodiless, loose_name
        self.chunked = chunked or (lambda value: value.strip().lower() == b"chunked")

    def requests(self, data):
        """The request lines it would see."""
        at, seen = 0, []
        while at < len(data):
            end = re.compile(self.line + self.line).search(data, at)
            if not end:
                break
            lines = re.split(self.line, data[at : end.start()])
            at = end.end()
            while lines and len(lines[0].split()) < 2:
                lines.pop(0)
            if not lines:
                continue
            words = lines[0].split()
            seen.append((words[0].decode("latin-1"), words[1].decode("latin-1")))
            at = self.after_body(data, at, words[0], self.fields(lines[1:]))
        return seen

    def fields(self, lines):
        found = []
        for line in lines:
            if line[:1] in (b" ", b"\t") and found and self.fold:
                found[-1] = (found[-1][0], found[-1][1] + b" " + line.strip())
                continue
            name, _, value = line.partition(b":")
            name = name.lower()
            if self.loose_name:
                name = name.strip(b" \t\0\v\f\r")
            if self.underscore:
                name = name.replace(b"_", b"-")
            found.append((name, value.strip(b" \t\v\f\0\r")))
        return found

    def after_body(self, data, at, method, fields):
        if method in self.bodiless:
            return at
        coding = any(name == b"transfer-encoding" and self.chunked(value) for name, value in fields)
        lengths = []
        for name, value in fields:
            if name == b"content-length":
                for item in value.split(b","):
                    digits = re.match(rb"\s*\+?(\d+)", item)
                    lengths.append(int(digits[1]) if digits else 0)
        if coding and (self.prefer == "te" or not lengths):
            return self.after_chunks(data, at)
        return at + self.lengths(lengths) if lengths else at

    def after_chunks(self, data, at):
        while True:
            end = re.compile(self.line).search(data, at)
            if not end:
                return len(data)
            digits = re.match(rb"\s*(?:0x|\+)?([0-9a-f]+)", data[at : end.start()], re.IGNORECASE)
            # Cut to 32 bits, as some do.
            size = int(digits[1], 16) & 0xFFFFFFFF if digits else 0
            at = end.end()
            if size == 0:
                break
            at += size
            after = re.compile(self.line).match(data, at)
            at = after.end() if after else at
        while at < len(data):
            end = re.compile(self.line).search(data, at)
            if not end:
                return len(data)
            empty, at = end.start() == at, end.end()
            if empty:
                break
        return at


# All read what is beyond doubt alike; they differ where the grammar leaves something to get wrong.
PARSERS = [
    Lenient("length first", prefer="cl"),
    Lenient("coding first"),
    Lenient("last length", lengths=lambda found: found[-1], prefer="cl"),
    Lenient("greatest length", lengths=max, prefer="cl"),
    Lenient("bare LF", line=rb"\r?\n"),
    Lenient("bare LF, length first", line=rb"\r?\n", prefer="cl"),
    Lenient("bare CR", line=rb"\r\n|\r|\n"),
    Lenient("folds lines", fold=True),
    Lenient("trims names", loose_name=True),
    Lenient("_ is -", underscore=True),
    Lenient("any coding with chunked", chunked=lambda value: b"chunked" in value.lower()),
]
# What these make of a body that is beyond doubt is nobody's to prevent, but by not letting such bodies pass.
CARELESS = [
    Lenient("no body with GET", bodiless=(b"GET", b"HEAD", b"OPTIONS", b"DELETE")),
    Lenient("no coding", chunked=lambda value: False),
]
