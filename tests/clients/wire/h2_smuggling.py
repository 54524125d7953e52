"""h2_smuggling.py: requests of HTTP/2 that would be two in HTTP/1.1, or that no two servers read alike; one line of JSON each.

Sent with a client that checks nothing and offers nothing but HTTP/2, so that it is served whatever the endpoint speaks. What
arrived is judged by smuggling.py, or by h2_check.py where the origin speaks HTTP/2. With `prior` the client agrees on HTTP/1.1
and speaks HTTP/2 all the same.
"""

import json
import socket
import ssl
import sys

import corpus
from h2peer import Outgoing, Peer, nodelay

HOST = corpus.HOST.encode()
FIRST = 201


def cases():
    """(name, reference, headers in place of the usual ones, further headers, body), numbered from FIRST."""
    evil = corpus.evil
    plain = [
        ("h2.CL, shorter", "RFC 9113, 8.1.1", {}, [(b"content-length", b"0")], evil),
        ("h2.CL, longer", "RFC 9113, 8.1.1", {}, [(b"content-length", b"500")], evil),
        ("h2.CL twice", "RFC 9110, 8.6", {}, [(b"content-length", b"0"), (b"content-length", b"80")], evil),
        ("h2.CL twice, equal", "RFC 9110, 8.6", {}, [(b"content-length", b"80")] * 2, evil),
        ("h2.CL as a list", "RFC 9110, 8.6", {}, [(b"content-length", b"80, 80")], evil),
        ("h2.CL with plus", "RFC 9110, 8.6", {}, [(b"content-length", b"+80")], evil),
        ("h2.CL not a number", "RFC 9110, 8.6", {}, [(b"content-length", b"x")], evil),
        ("h2.TE", "RFC 9113, 8.2.2", {}, [(b"transfer-encoding", b"chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("h2.TE in capitals", "RFC 9113, 8.2", {}, [(b"Transfer-Encoding", b"chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("h2.TE and CL", "RFC 9113, 8.2.2", {}, [(b"transfer-encoding", b"chunked"), (b"content-length", b"85")],
         lambda n: b"0\r\n\r\n" + evil(n)),
        ("TE with underscore", "CGI folds - and _", {}, [(b"transfer_encoding", b"chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("CL with underscore", "CGI folds - and _", {}, [(b"content_length", b"0")], evil),
        ("connection", "RFC 9113, 8.2.2", {}, [(b"connection", b"keep-alive")], evil),
        ("upgrade", "RFC 9113, 8.2.2", {}, [(b"upgrade", b"websocket"), (b"connection", b"upgrade")], None),
        ("te of another kind", "RFC 9113, 8.2.2", {}, [(b"te", b"gzip, trailers")], evil),
        ("expect", "RFC 9110, 10.1.1", {}, [(b"expect", b"100-continue")], evil),
        ("CRLF in a value", "RFC 9113, 8.2.1", {}, [(b"x", b"y\r\ntransfer-encoding: chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("LF in a value", "RFC 9113, 8.2.1", {}, [(b"x", b"y\ntransfer-encoding: chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("CR in a value", "RFC 9113, 8.2.1", {}, [(b"x", b"y\rtransfer-encoding: chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("NUL in a value", "RFC 9113, 8.2.1", {}, [(b"x", b"y\0z")], None),
        ("a request in a value", "RFC 9113, 8.2.1", {}, [(b"x", lambda n: b"y\r\n\r\n" + evil(n))], None),
        ("space before a value", "RFC 9113, 8.2.1", {}, [(b"x", b" y")], None),
        ("CRLF in a name", "RFC 9113, 8.2.1", {}, [(b"x: y\r\ntransfer-encoding", b"chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("colon in a name", "RFC 9113, 8.2.1", {}, [(b"transfer-encoding: chunked\r\nx", b"y")], None),
        ("space in a name", "RFC 9113, 8.2.1", {}, [(b"transfer-encoding ", b"chunked")], lambda n: b"0\r\n\r\n" + evil(n)),
        ("empty name", "RFC 9110, 5.1", {}, [(b"", b"y")], None),
        ("capitals in a name", "RFC 9113, 8.2", {}, [(b"X-Y", b"z")], None),
        ("CRLF in :method", "RFC 9113, 8.3.1", {b":method": lambda n: b"GET /smuggled/%d HTTP/1.1\r\nhost: x\r\n\r\nGET" % n}, [], None),
        ("space in :method", "RFC 9113, 8.3.1", {b":method": lambda n: b"GET /smuggled/%d HTTP/1.1\r\nX: y" % n}, [], None),
        ("space in :path", "RFC 9113, 8.3.1", {b":path": lambda n: b"/case/%d HTTP/1.1\r\nx: /" % n}, [], None),
        ("a request in :path", "RFC 9113, 8.3.1",
         {b":path": lambda n: b"/case/%d HTTP/1.1\r\nhost: %s\r\n\r\nGET /smuggled/%d" % (n, HOST, n)}, [], None),
        ("one space in :path", "RFC 9113, 8.3.1", {b":path": lambda n: b"/case/%d x" % n}, [], None),
        (":path without slash", "RFC 9113, 8.3.1", {b":path": lambda n: b"case/%d" % n}, [], None),
        (":path empty", "RFC 9113, 8.3.1", {b":path": lambda n: b""}, [], None),
        (":path with fragment", "RFC 9113, 8.3.1", {b":path": lambda n: b"/case/%d#x" % n}, [], None),
        (":path in absolute form", "RFC 9113, 8.3.1", {b":path": lambda n: b"https://other.example/case/%d" % n}, [], None),
        ("CRLF in :authority", "RFC 9113, 8.3.1", {b":authority": lambda n: HOST + b"\r\n\r\n" + evil(n)}, [], None),
        (":authority of another", "RFC 9110, 7.4", {b":authority": lambda n: b"other.example"}, [], None),
        (":authority with user", "RFC 9113, 8.3.1", {b":authority": lambda n: b"other.example@" + HOST}, [], None),
        ("host of another", "RFC 9113, 8.3.1", {}, [(b"host", b"other.example")], None),
        ("two hosts", "RFC 9110, 7.2", {}, [(b"host", HOST), (b"host", b"other.example")], None),
        ("no :authority, host of another", "RFC 9113, 8.3.1", {b":authority": None}, [(b"host", b"other.example")], None),
        ("no :authority, two hosts", "RFC 9113, 8.3.1", {b":authority": None}, [(b"host", HOST), (b"host", b"other.example")], None),
        ("CRLF in :scheme", "RFC 9113, 8.3.1",
         {b":scheme": lambda n: b"https://%s/smuggled/%d HTTP/1.1\r\nx: y\r\n\r\n" % (HOST, n)}, [], None),
        (":scheme http", "RFC 9113, 8.3.1", {b":scheme": lambda n: b"http"}, [], None),
        ("two :path", "RFC 9113, 8.3", {}, [(b":path", b"/smuggled/0")], None),
        ("a pseudo field of answers", "RFC 9113, 8.3", {}, [(b":status", b"200")], None),
        ("an unknown pseudo field", "RFC 9113, 8.3", {}, [(b":smuggled", b"x")], None),
        ("no :method", "RFC 9113, 8.3.1", {b":method": None}, [], None),
        ("no :path", "RFC 9113, 8.3.1", {b":path": None}, [], None),
        ("CONNECT", "RFC 9113, 8.5", {b":method": lambda n: b"CONNECT"}, [], None),
        ("HEAD with a body", "request tunnelling", {b":method": lambda n: b"HEAD"}, [], evil),
        ("GET with a body", "CL.0", {b":method": lambda n: b"GET"}, [], evil),
        ("cookie with CRLF", "RFC 9113, 8.2.3", {}, [(b"cookie", b"a=b"), (b"cookie", b"c=d\r\nx: y")], None),
        ("framing in trailers", "RFC 9110, 6.5.1", {}, [], ("trailers", [(b"content-length", b"0"), (b"transfer-encoding", b"chunked")])),
        ("pseudo field in trailers", "RFC 9113, 8.1", {}, [], ("trailers", [(b":path", b"/smuggled/0")])),
        ("CRLF in trailers", "RFC 9113, 8.2.1", {}, [], ("trailers", [(b"x", lambda n: b"y\r\n\r\n" + evil(n))])),
    ]
    for number, (name, reference, instead, more, body) in enumerate(plain, FIRST):
        yield number, name, reference, *filled(number, instead, more, body)


def filled(number, instead, more, body):
    def value(of):
        return of(number) if callable(of) else of

    pseudo = {b":method": b"POST" if body else b"GET", b":scheme": b"https", b":authority": HOST, b":path": b"/case/%d" % number}
    pseudo |= {name: value(of) for name, of in instead.items()}
    trailers = []
    if isinstance(body, tuple):
        trailers, body = [(name, value(of)) for name, of in body[1]], lambda n: b"a body"
    headers = [(name, of) for name, of in pseudo.items() if of is not None]
    pseudos = [(name, value(of)) for name, of in more if name[:1] == b":"]
    headers += pseudos + [(name, value(of)) for name, of in more if name[:1] != b":"]
    return headers, Outgoing(body(number), [16384], trailers, 0) if body else None


def dial(prior):
    tls = ssl.create_default_context()
    tls.set_alpn_protocols(["http/1.1" if prior else "h2"])
    sock = nodelay(socket.create_connection((corpus.HOST, 443), 20))
    session = tls.wrap_socket(sock, server_hostname=corpus.HOST)
    session.settimeout(5)
    return session


def attempt(headers, outgoing, prior):
    session = dial(prior)
    spoken = session.selected_alpn_protocol()
    if spoken != "h2" and not prior:
        return f"{spoken} was agreed on"
    peer = Peer(session, client=True)
    try:
        number = peer.open(headers, outgoing)
        stream = peer.streams[number]
        while not stream.over() and peer.goaway is None and not peer.gone:
            peer.step()
    except TimeoutError:
        return "silence"
    except (ConnectionError, OSError) as error:
        return str(error)[:40] if prior else type(error).__name__
    if stream.ended:
        return dict(stream.headers).get(b":status", b"none").decode()
    if peer.goaway is not None:
        return f"GOAWAY {int(peer.goaway)}"
    return f"reset {int(stream.reset)}" if stream.reset is not None else "closed"


def main():
    prior = "prior" in sys.argv[1:]
    for number, name, _, headers, outgoing in cases():
        print(json.dumps({"number": number, "name": name, "seen": attempt(headers, outgoing, prior)}), flush=True)


if __name__ == "__main__":
    main()
