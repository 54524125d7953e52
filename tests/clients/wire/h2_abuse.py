"""h2_abuse.py: clients of HTTP/2 that mean harm, one after the other, with requests like any other beside them.

One line of JSON for each: {"case", "sent", "seen", "limited", "resident", "beside"}: what was sent and what became of it, whether the
connection was ended or streams were refused, by how many bytes the daemon's memory had grown at the most, and how many
ordinary requests were answered meanwhile.
"""

import json
import sys
import threading
import time

import daemon
from h2raw import Raw, frame

CASES = []
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
WHOLE, OPEN = END_STREAM | END_HEADERS, END_HEADERS


def case(must_be_limited, **connection):
    """A case gets a connection and yields what it sends; afterwards it is seen what became of it."""

    def register(function):
        CASES.append((function.__doc__, function, must_be_limited, connection))
        return function

    return register


def ids(count):
    return range(1, 2 * count, 2)


@case(True)
def rapid_reset(raw):
    """rapid reset (CVE-2023-44487)"""
    for stream in ids(20_000):
        yield raw.headers(stream, WHOLE) + frame(RESET, stream, 0, b"\0\0\0\x08")


@case(True)
def made_you_reset_window(raw):
    """MadeYouReset by a window of 0 (CVE-2025-8671)"""
    for stream in ids(20_000):
        yield raw.headers(stream, OPEN, method=b"POST") + frame(WINDOW, stream, 0, b"\0\0\0\0")


@case(True)
def made_you_reset_overflow(raw):
    """MadeYouReset by a window that overflows (CVE-2025-8671)"""
    for stream in ids(20_000):
        yield raw.headers(stream, OPEN, method=b"POST") + frame(WINDOW, stream, 0, b"\x7f\xff\xff\xff") * 2


@case(True)
def made_you_reset_data(raw):
    """MadeYouReset by data behind the end (CVE-2025-8671)"""
    for stream in ids(20_000):
        yield raw.headers(stream, WHOLE) + frame(DATA, stream, 0, b"x")


@case(True)
def made_you_reset_headers(raw):
    """MadeYouReset by headers behind the end (CVE-2025-8671)"""
    for stream in ids(20_000):
        yield raw.headers(stream, WHOLE) + raw.headers(stream, WHOLE)


@case(True)
def made_you_reset_priority(raw):
    """MadeYouReset by a stream that depends on itself (CVE-2025-8671)"""
    for stream in ids(20_000):
        yield raw.headers(stream, OPEN, method=b"POST") + frame(PRIORITY, stream, 0, stream.to_bytes(4, "big") + b"\0")


@case(True)
def malformed_requests(raw):
    """requests that are malformed, one after the other"""
    for stream in ids(20_000):
        yield raw.headers(stream, WHOLE, more=[(b"Upper", b"case")])


@case(True)
def continuation_flood(raw):
    """CONTINUATION without end, 64 MiB of fields (CVE-2024-27316)"""
    yield frame(HEADERS, 1, 0, raw.block())
    for number in range(4096):
        yield frame(CONTINUATION, 1, 0, raw.encoder.encode([(b"x-%d" % number, b"y" * 16000)])[:16384])


@case(True)
def empty_continuations(raw):
    """CONTINUATION without end or content, 100,000 times"""
    yield frame(HEADERS, 1, 0, raw.block())
    for _ in range(100_000):
        yield frame(CONTINUATION, 1)


@case(False)
def ping_flood(raw):
    """PING, 200,000 times, answers read (CVE-2019-9512)"""
    for _ in range(200_000):
        yield frame(PING, 0, 0, b"interced")


@case(False, listens=False)
def ping_flood_unread(raw):
    """PING, 200,000 times, answers left lying (CVE-2019-9512)"""
    for _ in range(200_000):
        yield frame(PING, 0, 0, b"interced")


@case(False, listens=False)
def settings_flood(raw):
    """SETTINGS, 200,000 times, answers left lying (CVE-2019-9515)"""
    for _ in range(200_000):
        yield frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff")


@case(False)
def empty_data(raw):
    """DATA without content, 200,000 times (CVE-2019-9518)"""
    yield raw.headers(1, OPEN, method=b"POST")
    for _ in range(200_000):
        yield frame(DATA, 1)


@case(False)
def padding(raw):
    """DATA of nothing but padding, 200,000 times"""
    yield raw.headers(1, OPEN, method=b"POST")
    for _ in range(200_000):
        yield frame(DATA, 1, PADDED, b"\x05" + bytes(5))


@case(False)
def priority_flood(raw):
    """PRIORITY, 200,000 times, on streams that are not there"""
    for number in range(200_000):
        yield frame(PRIORITY, 2 * (number % 100_000) + 1, 0, b"\0\0\0\0\xff")


@case(False)
def window_updates(raw):
    """WINDOW_UPDATE by 1, 200,000 times"""
    for _ in range(200_000):
        yield frame(WINDOW, 0, 0, b"\0\0\0\x01")


@case(False)
def unknown_frames(raw):
    """frames of an unknown type, 100,000 times"""
    for _ in range(100_000):
        yield frame(0xEE, 0, 0, b"what is this")


@case(True)
def window_overflow(raw):
    """a connection window that overflows"""
    yield frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2


@case(False, settings={4: 1})
def window_of_one(raw):
    """a window of one byte, opened byte by byte"""
    yield raw.headers(1, WHOLE, path=b"/large/1000000")
    for _ in range(2000):
        yield frame(WINDOW, 1, 0, b"\0\0\0\x01")


@case(False, settings={4: 0})
def no_window(raw):
    """100 answers of 10 MB, and no window for eight seconds"""
    for stream in ids(100):
        yield raw.headers(stream, WHOLE, path=b"/large/10000000")
    time.sleep(8)


@case(False, settings={4: 0x7FFFFFFF}, window=0x7FFF0000, listens=False)
def never_reads(raw):
    """100 answers of 10 MB, all windows open, nothing read for eight seconds"""
    for stream in ids(100):
        yield raw.headers(stream, WHOLE, path=b"/large/10000000")
    time.sleep(8)


@case(False, settings={4: 0})
def window_by_settings(raw):
    """windows opened and closed by SETTINGS, 20,000 times"""
    for stream in ids(100):
        yield raw.headers(stream, WHOLE, path=b"/large/10000000")
    for _ in range(10_000):
        yield frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x01") + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0")


@case(True)
def a_megabyte_of_fields(raw):
    """fields of 1 MiB, properly ended"""
    block = raw.block(more=[(b"x-%d" % number, b"y" * 4000) for number in range(260)])
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    yield frame(HEADERS, 1, END_STREAM, pieces[0])
    for piece in pieces[1:-1]:
        yield frame(CONTINUATION, 1, 0, piece)
    yield frame(CONTINUATION, 1, END_HEADERS, pieces[-1])


@case(True)
def bomb(raw):
    """HPACK bomb: 60 MB of fields in 16 KiB"""
    # Entry 62 of the table is the newest (RFC 7541, 2.3.3).
    block = raw.block(more=[(b"x-bomb", b"y" * 3900)])
    yield frame(HEADERS, 1, WHOLE, block + b"\xbe" * (16384 - len(block)))


@case(True)
def bombs(raw):
    """HPACK bombs on 200 streams at once"""
    block = raw.block(more=[(b"x-bomb", b"y" * 3900)])
    yield frame(HEADERS, 1, WHOLE, block)
    again = raw.block()
    for stream in ids(200):
        if stream > 1:
            yield frame(HEADERS, stream, WHOLE, again + b"\xbe" * (16384 - len(again)))


@case(False)
def cookies(raw):
    """a cookie in 20,000 crumbs"""
    yield frame(HEADERS, 1, WHOLE, (raw.block() + raw.encoder.encode([(b"cookie", b"a=b")]) + b"\xbe" * 16384)[:16384])


@case(False)
def table_sizes(raw):
    """changes of the table size, 8,000 in one block"""
    yield frame(HEADERS, 1, WHOLE, b"\x20\x3f\xe1\x1f" * 4000 + raw.block())


@case(True)
def too_many_streams(raw):
    """10,000 requests without end at once"""
    for stream in ids(10_000):
        yield raw.headers(stream, OPEN, method=b"POST")


@case(True)
def even_stream(raw):
    """a request on an even stream"""
    yield raw.headers(2, WHOLE)


@case(True)
def stream_back(raw):
    """a request on a stream before the last one"""
    yield raw.headers(9, WHOLE) + raw.headers(5, WHOLE)


@case(True)
def stream_zero(raw):
    """a request on stream 0"""
    yield raw.headers(0, WHOLE)


@case(True)
def data_on_zero(raw):
    """data on stream 0"""
    yield frame(DATA, 0, 0, b"x")


@case(True)
def idle_reset(raw):
    """a reset of a stream that is not open"""
    yield frame(RESET, 77, 0, b"\0\0\0\x08")


@case(True)
def idle_data(raw):
    """data on a stream that is not open"""
    yield frame(DATA, 77, 0, b"x")


@case(True)
def interrupted_headers(raw):
    """another frame amid CONTINUATIONs"""
    yield frame(HEADERS, 1, 0, raw.block()) + frame(PING, 0, 0, b"interced")


@case(True)
def lone_continuation(raw):
    """a CONTINUATION of nothing"""
    yield frame(CONTINUATION, 1, END_HEADERS, raw.block())


@case(True)
def push(raw):
    """a push from the client"""
    yield frame(5, 1, END_HEADERS, b"\0\0\0\x02" + raw.block())


@case(True)
def large_frame(raw):
    """a frame over the agreed size"""
    yield raw.headers(1, OPEN, method=b"POST") + frame(DATA, 1, 0, bytes(1 << 20))


@case(True)
def bad_compression(raw):
    """a field block that cannot be decoded"""
    yield frame(HEADERS, 1, WHOLE, b"\xff" * 100)


@case(True)
def bad_settings(raw):
    """settings out of range"""
    yield frame(SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff")


@case(True)
def ping_of_another_size(raw):
    """a PING of seven bytes"""
    yield frame(PING, 0, 0, b"seven b")


# Last, for what it makes the allocator keep would hide what the others take.
@case(True)
def beyond_the_window(raw):
    """64 MiB of data without asking for a window"""
    yield raw.headers(1, OPEN, method=b"POST")
    for _ in range(4096):
        yield frame(DATA, 1, 0, bytes(16384))


class Beside:
    """Ordinary requests on connections of their own, as long as a case lasts, and once more at its end."""

    def __enter__(self):
        self.answered, self.most, self.error, self.running = 0, 0, None, True
        self.idle = daemon.resident()
        self.threads = [threading.Thread(target=self.ask), threading.Thread(target=self.watch)]
        for thread in self.threads:
            thread.start()
        return self

    def ask(self):
        try:
            last = False
            while not last:
                last = not self.running
                raw = Raw()
                raw.send(raw.headers(1, WHOLE))
                until = time.monotonic() + 30
                while not raw.statuses and not raw.closed and time.monotonic() < until:
                    time.sleep(0.005)
                if raw.statuses != {"200": 1}:
                    self.error = raw.outcome()
                    return
                self.answered += 1
                raw.session.close()
                time.sleep(0.05)
        except OSError as error:
            self.error = repr(error)

    def watch(self):
        while self.running:
            self.most = max(self.most, daemon.resident() - self.idle)
            time.sleep(0.02)

    def __exit__(self, *_):
        self.running = False
        for thread in self.threads:
            thread.join()


def attempt(function, connection):
    with Beside() as beside:
        raw = Raw(**connection)
        sent = raw.flood(function(raw))
        until = time.monotonic() + 3
        while time.monotonic() < until and raw.goaway is None and not raw.closed:
            time.sleep(0.02)
        if not connection.get("listens", True):
            # Now it is read what was left lying, as long as there is some.
            raw.listener.start()
            raw.listener.join(2)
        time.sleep(0.1)
        seen = raw.outcome()
        limited = judge(raw)
        raw.session.close()
    return {"sent": sent, "seen": seen, "limited": limited, "resident": beside.most,
            "beside": beside.answered, "error": beside.error}


def judge(raw):
    """Whether the connection was ended or something on it refused."""
    ended = raw.goaway not in (None, "NO_ERROR") or raw.closed
    return ended or bool(raw.resets) or any(status.startswith("4") for status in raw.statuses)


def main():
    chosen = sys.argv[1:]
    for name, function, must_be_limited, connection in CASES:
        if chosen and function.__name__ not in chosen:
            continue
        seen = attempt(function, connection)
        print(json.dumps({"case": name, "must_be_limited": must_be_limited, **seen}), flush=True)


main()
