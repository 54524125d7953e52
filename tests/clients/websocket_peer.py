"""A client's end of a WebSocket that can say what no library would: frames are written by hand or by wsproto, and what
comes is read by wsproto, which checks it."""

import base64
import os
import socket
import ssl

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

TIMEOUT_S = 60


class Refused(Exception):
    """The handshake was answered with another status than 101."""


def frame(first, payload=b"", key=None):
    """A masked frame; `first` is its first byte."""
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + size.to_bytes(8, "big")
    key = os.urandom(4) if key is None else key
    pad = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + key + masked.to_bytes(size, "big")


class Peer:
    """One connection."""

    def __init__(self, where, query="", offer=None):
        host, port, tls = where
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=host)
        self.agreed = None
        rest = self.shake(host, query, offer)
        extensions = [self.agreed] if self.agreed else []
        self.frames = FrameProtocol(client=True, extensions=extensions)
        self.pending = self.frames.received_frames()
        self.frames.receive_bytes(rest)
        self.ended = False
        self.kind, self.parts = None, []

    def shake(self, host, query, offer):
        lines = [
            f"GET /v1/realtime{query} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if offer:
            lines.append(f"Sec-WebSocket-Extensions: {offer}")
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        got = b""
        while b"\r\n\r\n" not in got:
            more = self.socket.recv(4096)
            if not more:
                raise Refused("the connection ended")
            got += more
        head, rest = got.split(b"\r\n\r\n", 1)
        status, *fields = head.decode().split("\r\n")
        if " 101 " not in status + " ":
            raise Refused(status)
        for name, value in (field.split(":", 1) for field in fields):
            if name.lower() == "sec-websocket-extensions":
                self.agreed = PerMessageDeflate()
                self.agreed.finalize(value.strip())
        return rest

    def write(self, *frames, chop=None):
        """Sends bytes, in writes of `chop` bytes each. A peer that has gone is found out by reading."""
        data = b"".join(frames)
        try:
            for start in range(0, len(data), chop or len(data) or 1):
                self.socket.sendall(data[start : start + (chop or len(data))])
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def say(self, message, fragment=None):
        """Sends a message through wsproto, compressed where that was agreed on."""
        size = fragment or len(message) or 1
        starts = range(0, len(message) or 1, size)
        self.write(
            *[bytes(self.frames.send_data(message[at : at + size], fin=at + size >= len(message))) for at in starts]
        )

    def hear(self):
        """The next thing that is whole: ("text", str), ("binary", bytes), ("ping", bytes), ("pong", bytes),
        ("close", code or None, reason), ("end",) or ("reset",)."""
        while not self.ended:
            try:
                for got in self.pending:
                    if got.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION):
                        if self.kind is None:
                            self.kind = "text" if isinstance(got.payload, str) else "binary"
                        self.parts.append(got.payload)
                        if got.message_finished:
                            return self.whole()
                    elif got.opcode is Opcode.CLOSE:
                        code, reason = got.payload
                        return "close", None if code == 1005 else int(code), reason or ""
                    else:
                        return got.opcode.name.lower(), bytes(got.payload)
            except ParseFailed as error:
                return "invalid", str(error)
            # The generator ends when it has no bytes left.
            self.pending = self.frames.received_frames()
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return ("reset",)
            except TimeoutError:
                return ("silence",)
            if not data:
                self.ended = True
            self.frames.receive_bytes(data)
        return ("end",)

    def whole(self):
        kind, parts = self.kind, self.parts
        self.kind, self.parts = None, []
        return kind, ("" if kind == "text" else b"").join(parts)

    def close(self):
        self.socket.close()
