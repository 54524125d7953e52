"""A WebSocket opened by an extended CONNECT (RFC 8441): says one sentence, and prints what comes back.

h2_websocket.py SENTENCE
"""

import json
import os
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events

HOST = "api.openai.com"


def frame(text):
    payload, key = text.encode(), os.urandom(4)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([0x81, 0x80 | len(payload)]) + key + masked


def main():
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    stream = context.wrap_socket(socket.create_connection((HOST, 443), 20), server_hostname=HOST)
    # The package does not know of extended CONNECT, and would refuse to send it.
    config = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    http = h2.connection.H2Connection(config)
    http.initiate_connection()
    stream.sendall(http.data_to_send())
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/v1/echo")]
    http.send_headers(1, head + [(":authority", HOST), ("sec-websocket-version", "13")])
    stream.sendall(http.data_to_send())
    status, heard = None, b""
    while len(heard) < 2 or len(heard) < 2 + heard[1]:
        read = stream.recv(1 << 16)
        assert read, "the connection ended"
        for event in http.receive_data(read):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
                http.send_data(1, frame(sys.argv[1]))
            elif isinstance(event, h2.events.DataReceived):
                heard += event.data
            assert not isinstance(event, h2.events.StreamReset), event
        stream.sendall(http.data_to_send())
    print(json.dumps({"status": status, "heard": heard[2:].decode()}))


main()
