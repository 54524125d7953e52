"""One side of an HTTP/2 connection over a blocking socket: what comes, kept a stream each; what goes, as windows allow."""

import socket
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings


@dataclass
class Stream:
    headers: list = field(default_factory=list)
    interim: list = field(default_factory=list)
    body: bytes = b""
    trailers: list = field(default_factory=list)
    ended: bool = False
    reset: int | None = None  # the error code, when the other side gave it up
    closed: bool = False  # the connection went away before its end

    def over(self):
        return self.ended or self.reset is not None or self.closed


@dataclass
class Outgoing:
    body: bytes
    pieces: list  # sizes of DATA frames, the last one repeated
    trailers: list
    padding: int
    abort_at: int | None = None  # reset the stream instead, when so much was sent


class Peer:
    def __init__(self, sock, client):
        # What arrives is shown as it is, and what is sent is the caller's affair.
        config = h2.config.H2Configuration(
            client_side=client, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
            validate_inbound_headers=False, normalize_inbound_headers=False,
        )
        self.sock, self.connection = sock, h2.connection.H2Connection(config)
        self.streams, self.outgoing, self.gone, self.goaway = {}, {}, False, None
        self.connection.initiate_connection()
        self.flush()

    def flush(self):
        data = self.connection.data_to_send()
        try:
            if data:
                self.sock.sendall(data)
        except OSError:
            self.gone = True

    def open(self, headers, outgoing=None):
        """A request of ours: its stream."""
        number = self.connection.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.send(number, headers, outgoing)
        return number

    def send(self, number, headers, outgoing=None):
        """Headers; with `outgoing` the rest follows as the windows allow, without it nothing does."""
        self.connection.send_headers(number, headers, end_stream=outgoing is None)
        if outgoing is not None:
            self.outgoing[number] = (outgoing, 0, 0)
        self.push()

    def push(self):
        """Sends as much of the bodies as may be sent now."""
        for number in list(self.outgoing):
            try:
                self.push_one(number)
            except (h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError, KeyError):
                self.outgoing.pop(number, None)
        self.flush()

    def push_one(self, number):
        out, sent, frames = self.outgoing[number]
        while True:
            if out.abort_at is not None and sent >= out.abort_at:
                self.connection.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
                if stream := self.streams.get(number):
                    stream.closed = True
                del self.outgoing[number]
                return
            left = len(out.body) - sent
            if left == 0:
                break
            padded = out.padding if frames % 3 == 1 else None
            room = min(self.connection.local_flow_control_window(number), self.connection.max_outbound_frame_size)
            room -= padded + 1 if padded is not None else 0
            size = min(left, out.pieces[min(frames, len(out.pieces) - 1)], room)
            if size <= 0:
                self.outgoing[number] = (out, sent, frames)
                return
            last = left == size and not out.trailers and out.abort_at is None and out.padding % 2 == 0
            self.connection.send_data(number, out.body[sent : sent + size], end_stream=last, pad_length=padded)
            sent, frames = sent + size, frames + 1
            if last:
                del self.outgoing[number]
                return
        if out.trailers:
            self.connection.send_headers(number, out.trailers, end_stream=True)
        else:
            self.connection.send_data(number, b"", end_stream=True)
        del self.outgoing[number]

    def step(self):
        """Waits for something to come; the streams whose message is whole now, or broken off."""
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        over = []
        if not data:
            self.gone = True
            for number, stream in self.streams.items():
                if not stream.over():
                    stream.closed = True
                    over.append(number)
            return over
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.flush()
            raise ConnectionError(f"the other side broke the protocol: {error}") from error
        for event in events:
            over += self.take(event)
        self.push()
        return over

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = Stream(headers=list(event.headers))
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return []
        if isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(list(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            stream.headers = list(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if event.flow_controlled_length:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
            return [event.stream_id]
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = event.error_code
            return [event.stream_id]
        return []


def nodelay(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
