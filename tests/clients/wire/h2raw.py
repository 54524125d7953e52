"""HTTP/2 frame by frame, with nothing in the way of sending what must not be sent."""

import collections
import socket
import ssl
import threading

import hpack
import hyperframe.frame as frames

from duplex import Duplex

HOST = "api.openai.com"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()
TLS = ssl.create_default_context()
TLS.set_alpn_protocols(["h2"])


def frame(kind, stream, flags=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Raw:
    """A connection. What the other side says is counted while it is listened to."""

    def __init__(self, settings=None, listens=True, window=None):
        sock = socket.create_connection((HOST, 443), 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = TLS.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False)
        if session.selected_alpn_protocol() != "h2":
            raise SystemExit(f"HTTP/2 was not agreed on, but {session.selected_alpn_protocol()}")
        self.session = Duplex(session)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_allowed_table_size = 1 << 16
        self.goaway, self.closed, self.resets, self.seen = None, False, collections.Counter(), collections.Counter()
        self.statuses, self.bytes = collections.Counter(), 0
        opening = frames.SettingsFrame(0, settings=settings or {})
        self.send(PREFACE + opening.serialize())
        if window:
            self.send(frame(8, 0, 0, window.to_bytes(4, "big")))
        self.listener = threading.Thread(target=self.listen, daemon=True)
        if listens:
            self.listener.start()

    def send(self, data):
        """False when the other side takes no more."""
        try:
            self.session.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def flood(self, pieces, batch=1 << 16):
        """Sends until there is nothing more, or the connection is over; how many were sent."""
        waiting, sent = [], 0
        for piece in pieces:
            if self.goaway is not None or self.closed:
                break
            waiting.append(piece)
            sent += 1
            if sum(map(len, waiting)) >= batch or len(waiting) >= 500:
                if not self.send(b"".join(waiting)):
                    break
                waiting = []
        if waiting and self.goaway is None and not self.closed:
            self.send(b"".join(waiting))
        return sent

    def block(self, method=b"GET", path=b"/small", more=()):
        return self.encoder.encode(
            [(b":method", method), (b":scheme", b"https"), (b":authority", HOST.encode()), (b":path", path), *more]
        )

    def headers(self, stream, flags, **how):
        return frame(1, stream, flags, self.block(**how))

    def listen(self):
        data = b""
        try:
            while piece := self.session.recv(1 << 16):
                data += piece
                while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                    length = int.from_bytes(data[:3], "big")
                    self.take(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length])
                    data = data[9 + length :]
        except (OSError, ValueError):
            # Reset by the other side, or closed by ours.
            pass
        self.closed = True

    def take(self, kind, flags, stream, payload):
        self.seen[kind] += 1
        if kind == 0:
            self.bytes += len(payload)
        elif kind == 1:
            for name, value in self.decoder.decode(payload, raw=True):
                if name == b":status":
                    self.statuses[value.decode()] += 1
        elif kind == 3:
            self.resets[code(payload)] += 1
        elif kind == 7:
            self.goaway = code(payload[4:])
        elif kind == 4 and not flags & 1:
            self.send(frame(4, 0, 1))

    def outcome(self):
        """What became of it, in words."""
        words = [f"GOAWAY {self.goaway}"] if self.goaway is not None else []
        words += ["closed"] if self.closed else []
        words += [f"{count} streams reset with {name}" for name, count in self.resets.items()]
        words += [f"{count} times status {status}" for status, count in self.statuses.items()]
        return ", ".join(words) or "goes on"


def code(payload):
    number = int.from_bytes(payload[:4], "big")
    return CODES[number] if number < len(CODES) else str(number)
