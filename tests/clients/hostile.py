"""Tries to reach the lab's model endpoint past the interceptor, in every way its author could think of, without root.

usage: hostile.py CAPTURE_CLIENT STATIC_PROGRAM LISTENER_PORT DAEMON_PID

Each attempt carries a card number and its own name, so that whatever arrives tells what it is. One line of JSON for
each attempt: {"attempt", "seen"}. `seen` begins with one of

    intercepted  the interceptor's certificate, or its answer
    denied       connected to the interceptor, which closed or answered with an alert
    refused      the call failed
    sent         the call succeeded and nothing more can be seen from here
    direct       connected to something else than the interceptor
"""

import ctypes
import errno
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

CLIENT, STATIC, LISTENER, DAEMON = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
NAME, CARD = "api.openai.com", "4111 1111 1111 1111"
V4, V6, MAPPED = "203.0.113.10", "2001:db8::10", "::ffff:203.0.113.10"
ATTEMPTS = []


def attempt(function):
    ATTEMPTS.append((function.__name__.replace("_", " "), function))
    return function


def each(**cases):
    """An attempt for each case: its words are the function's arguments."""

    def register(function):
        for case, arguments in cases.items():
            name = f"{function.__name__} {case}".replace("_", " ")
            ATTEMPTS.append((name, lambda attempt, arguments=arguments: function(attempt, *arguments)))
        return function

    return register


# What is sent, and what is made of what comes back.


def request(name, host=NAME, method="POST", path="/v1/chat/completions", headers=""):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"attempt <{name}> card {CARD}"}]})
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


def dial(address, port=443, bind=None):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(4)
    if bind:
        sock.bind((bind, 0))
    sock.connect((address, port))
    return sock


def met(sock):
    """Whom a connected socket reached: the interceptor is on loopback, and nothing else in the lab is."""
    here = sock.getsockname()[0].replace("::ffff:", "")
    return "interceptor" if here in ("127.0.0.1", "::1") else "direct"


def read_all(sock):
    answer = b""
    while piece := sock.recv(65536):
        answer += piece
    return answer


def plain(sock, *pieces, pause=0.0):
    """Sends bytes as they are, and says what came of it."""
    where = met(sock)
    for piece in pieces:
        time.sleep(pause)
        sock.sendall(piece)
    answer = read_all(sock)
    first = answer.split(b"\r\n")[0][:60]
    if where == "direct":
        return f"direct {first!r}"
    if first.startswith(b"HTTP/"):
        return "intercepted " + first.decode()
    return f"denied {first!r}"


def tls(sock, name, sni=NAME, host=NAME, context=None, send=None):
    """A request over TLS with whoever answers: no certificate is unwelcome here."""
    where = met(sock)
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(sock, server_hostname=sni) as session:
        certificate = session.getpeercert(binary_form=True)
        session.sendall(send or request(name, host))
        answer = read_all(session)
    if b"Interceptor CA" in certificate:
        return "intercepted " + answer.split(b"\r\n")[0].decode(errors="replace")
    # The record of the connection says what became of it; the test looks at what arrived.
    return f"{'direct' if where == 'direct' else 'spliced'} {answer[:40]!r}"


# By name and address, over TLS.


@each(IPv4=(V4,), IPv6=(V6,), mapped=(MAPPED,))
def own_resolver(name, address):
    return tls(dial(address), name)


@each(IPv4=(V4,), IPv6=(V6,), mapped=(MAPPED,))
def alternate_port(name, address):
    return tls(dial(address, 8443), name)


@each(foreign=("evil.example",), none=(None,), upper_case=("API.OpenAI.COM",), final_dot=("api.openai.com.",), other_endpoint=("api.anthropic.com",))
def SNI(name, sni):
    return tls(dial(V4), name, sni=sni)


@each(foreign=("evil.example",), none=(None,), upper_case=("API.OpenAI.COM",), final_dot=("api.openai.com.",))
def SNI_at_another_port(name, sni):
    return tls(dial(V6, 8443), name, sni=sni)


@each(foreign=("evil.example",), mixed_case=("Api.OpenAI.com",), with_port=("api.openai.com:443",), address=(V4,))
def Host(name, host):
    return tls(dial(V4), name, host=host)


@attempt
def TLS_1_2(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return tls(dial(V4), name, context=context)


@each(h2=(["h2"],), own_protocol=(["hidden"],))
def ALPN(name, protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    return tls(dial(V4), name, context=context)


def hello(sni):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=sni)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@each(foreign_outer_name=("cover.example", 443), its_own_outer_name=(NAME, 443), another_port=("cover.example", 8443))
def encrypted_hello(name, outer, port):
    """An extension of type 0xfe0d (draft-ietf-tls-esni) added to a hello."""
    record = bytearray(hello(outer))
    at = 5 + 4 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at:at + 2], "big")
    at += 1 + record[at]
    payload = b"\x00\x00\x01\x00\x01\x00\x00\x20" + os.urandom(32) + b"\x00\x40" + os.urandom(64)
    extension = struct.pack(">HH", 0xFE0D, len(payload)) + payload
    for place, width in ((3, 2), (6, 3), (at, 2)):
        longer = int.from_bytes(record[place:place + width], "big") + len(extension)
        record[place:place + width] = longer.to_bytes(width, "big")
    answer = plain(dial(V4, port), bytes(record + extension))
    return answer if "\\x15" in answer or answer == "denied b''" else f"intercepted, handshake went on: {answer}"


@attempt
def hello_in_single_bytes(name):
    sock = dial(V4)
    whole = hello(NAME)
    for byte in whole[:40]:
        sock.sendall(bytes([byte]))
        time.sleep(0.02)
    answer = plain(sock, whole[40:], b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\x01\x00" + bytes(256))
    return f"intercepted, handshake went on: {answer}" if "\\x16\\x03\\x03" in answer else answer


@each(endpoint_port=(443,), another_port=(8443,))
def silent_first_then_TLS(name, port):
    sock = dial(V4, port)
    time.sleep(1)
    return tls(sock, name)


@attempt
def SSLv2_hello(name):
    return plain(dial(V4), b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + os.urandom(37) + request(name))


# Other protocols on the way.


@each(endpoint_port=(V4, 443), port_80=(V4, 80), another_port=(V6, 8443), silent_first=(V4, 8443, 1.0))
def plain_HTTP(name, address, port, pause=0.0):
    return plain(dial(address, port), request(name), pause=pause)


@each(endpoint_port=(443,), another_port=(8443,))
def no_protocol_at_all(name, port):
    sock = dial(V4, port)
    text = f"attempt <{name}> card {CARD}\n".encode()
    sock.sendall(text)
    sock.shutdown(socket.SHUT_WR)
    return plain(sock)


@attempt
def websocket(name):
    upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    text = f"attempt <{name}> card {CARD}".encode()
    frame = b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text
    head = f"GET /v1/realtime HTTP/1.1\r\nhost: {NAME}\r\n{upgrade}\r\n".encode()
    return tls(dial(V4), name, send=head + frame)


@each(inside_TLS=(True,), plain=(False,), plain_at_another_port=(False, 8443))
def CONNECT(name, inside, port=443):
    head = f"CONNECT {NAME}:443 HTTP/1.1\r\nhost: {NAME}:443\r\n\r\n".encode()
    text = head + request(name)
    return tls(dial(V4), name, send=text) if inside else plain(dial(V4, port), text)


@each(endpoint_port=(V4, 443, NAME), another_port=(V6, 8443, NAME), to_a_foreign_host=(V4, 443, "evil.example"),
      to_a_foreign_host_at_another_port=(V4, 8443, "evil.example"))
def CONNECT_with_a_message(name, address, port, host):
    """What stands in the head of a CONNECT request reaches whoever answers it."""
    return plain(dial(address, port), f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\nx-note: <{name}> {CARD}\r\n\r\n".encode())


@attempt
def HTTP_2_without_TLS(name):
    return plain(dial(V4, 8443), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + request(name))


@each(v4=(socket.AF_INET, V4, 443), v6=(socket.AF_INET6, V6, 443), another_port=(socket.AF_INET, V4, 8443))
def QUIC(name, family, address, port):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.sendto(b"\xc0\x00\x00\x00\x01" + f"attempt <{name}> card {CARD}".encode(), (address, port))
    return "sent"


@each(v4=(socket.AF_INET, V4, 443), v6=(socket.AF_INET6, V6, 443), another_port=(socket.AF_INET6, V6, 8443))
def QUIC_connected(name, family, address, port):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.send(b"\xc0\x00\x00\x00\x01" + f"attempt <{name}> card {CARD}".encode())
    return "sent"


# The system's other ways to connect.

SAY = "say GET /?<{name}>{card} HTTP/1.0; say ; read"


@each(
    io_uring=("socket tcp4; uring-connect 203.0.113.10:443 inline",),
    io_uring_worker=("socket tcp6; uring-connect [2001:db8::10]:443 async",),
    io_uring_poller=("socket tcp4; uring-connect 203.0.113.10:8443 sqpoll",),
    io_uring_datagram=("socket udp4; uring-send 203.0.113.10:443",),
    MPTCP=("socket mptcp4; connect 203.0.113.10:443",),
    MPTCP_another_port=("socket mptcp6; connect [2001:db8::10]:8443",),
    Fast_Open=("socket tcp4; fastopen 203.0.113.10:443",),
    Fast_Open_option=("socket tcp6; set fastopen-connect; connect [2001:db8::10]:443",),
    passed_socket=("socket tcp4; pass; connect 203.0.113.10:443",),
    passed_connection=("socket tcp4; connect 203.0.113.10:443; pass",),
    vfork=("socket tcp4; vfork; connect 203.0.113.10:443",),
    bound_source=("socket tcp4; bind 203.0.113.2:0; connect 203.0.113.10:443",),
    bound_to_device=("socket tcp4; set device lab0; connect 203.0.113.10:443",),
    unicast_interface=("socket tcp6; set unicast-if lab0; connect [2001:db8::10]:443",),
    transparent=("socket tcp4; set transparent; connect 203.0.113.10:443",),
    marked=("socket tcp4; set mark 451; connect 203.0.113.10:443",),
    marked_in_a_user_namespace=("socket tcp4; unshare user; set mark 451; connect 203.0.113.10:443",),
    user_namespace=("unshare user; socket tcp4; connect 203.0.113.10:443",),
    network_namespace=("unshare user; unshare net; socket tcp4; connect 203.0.113.10:443",),
    socket_from_before_a_namespace=("socket tcp4; unshare user; unshare net; connect 203.0.113.10:443",),
    source_route=("socket tcp4; set source-route 203.0.113.10; connect 203.0.113.11:443",),
    disconnected=("socket tcp4; connect 203.0.113.10:443; disconnect; connect 203.0.113.10:443",),
    second_connect=("socket tcp4; try connect 127.0.0.1:1; connect 203.0.113.10:443",),
    two_threads=("socket tcp4; race 203.0.113.10:443",),
    UDP_Lite=("socket udplite4; connect 203.0.113.10:443",),
    UDP_segments=("socket udp4; set segment 100; sendto 203.0.113.10:443",),
    UDP_corked=("socket udp6; set cork; sendto [2001:db8::10]:443",),
    SCTP=("socket sctp4; connect 203.0.113.10:443",),
    raw_socket=("socket raw4; sendto 203.0.113.10:443",),
    packet_socket=("socket packet; sendto 203.0.113.10:443",),
    the_listener=(f"socket tcp4; connect 127.0.0.1:{LISTENER}",),
    the_listener_any=(f"socket tcp4; connect 0.0.0.0:{LISTENER}",),
    the_listener_v6=(f"socket tcp6; connect [::1]:{LISTENER}",),
    the_listener_any_v6=(f"socket tcp6; connect [::]:{LISTENER}",),
    the_listener_mapped=(f"socket tcp6; connect [::ffff:127.0.0.1]:{LISTENER}",),
    the_endpoint_mapped_v6only=("socket tcp6; set v6only; connect [::ffff:203.0.113.10]:443",),
)
def by(name, script):
    said = "; " + SAY.format(name=name, card=CARD) if "udp" not in script and "raw" not in script else ""
    run = subprocess.run([CLIENT, "run", script + said], stdout=subprocess.PIPE, timeout=30)
    result = json.loads(run.stdout)
    local = result.get("local", "")
    if local and not local.startswith(("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")) and "bind" not in script:
        return f"direct {result}"
    if "error" in result:
        step = result["step"].split(" ")[0]
        return f"{'denied' if step in ('say', 'read') else 'refused'} {result['error']} at {step}"
    if "said" not in result:
        return "sent"
    return f"{'intercepted' if result['said'].startswith('HTTP/') else 'denied'} {result['said']!r}"


@attempt
def static_program(name):
    return subprocess.run([STATIC, f"attempt <{name}> card {CARD}"], stdout=subprocess.PIPE, timeout=30).stdout.decode().strip()


@attempt
def stopped_between_connect_and_speech(name):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        sock = dial(V4)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            os.write(writer, tls(sock, name).encode())
        except OSError as error:
            os.write(writer, f"denied {error}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, os.WUNTRACED)
    time.sleep(3)
    os.kill(child, signal.SIGCONT)
    said = os.read(reader, 1000).decode()
    os.waitpid(child, 0)
    return said


@each(exiting_children=(False,), threads_of_exiting_children=(True,))
def racing(name, threads):
    """A thousand processes that connect, speak and are gone, without waiting for anything."""
    text = request(name)

    def leave(port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((V4, port))
        try:
            sock.send(text)
        except OSError:
            pass

    for turn in range(1000 if not threads else 200):
        child = os.fork()
        if child == 0:
            if threads:
                for _ in range(4):
                    threading.Thread(target=leave, args=(443,), daemon=True).start()
            else:
                leave(443 if turn % 2 else 8443)
            os._exit(0)
        os.waitpid(child, 0)
    return "sent"


# Against the interceptor itself.


def denied(error):
    return f"refused {errno.errorcode[error.errno]}"


@each(daemons=("daemon",), endpoints=("endpoint",), parents=("",), own_below=("client/mine",))
def another_cgroup(name, where):
    own = next(line for line in open("/proc/self/cgroup") if line.startswith("0::"))[3:].strip()
    mount = next(line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup2 " in line)
    place = os.path.join(mount + os.path.dirname(own), where)
    try:
        if "/" in where:
            os.mkdir(place)
        with open(os.path.join(place, "cgroup.procs"), "w") as procs:
            procs.write(str(os.getpid()))
    except OSError as error:
        return denied(error)
    return tls(dial(V4), name)


@attempt
def tracing_the_daemon(name):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, DAEMON, 0, 0) == 0:
        return "direct: the daemon can be traced"
    return f"refused {errno.errorcode[ctypes.get_errno()]}"


@each(kill=(lambda: os.kill(DAEMON, signal.SIGKILL),), stop=(lambda: os.kill(DAEMON, signal.SIGSTOP),),
      memory=(lambda: open(f"/proc/{DAEMON}/mem", "rb"),), descriptors=(lambda: os.listdir(f"/proc/{DAEMON}/fd"),))
def the_daemon(name, action):
    try:
        action()
    except OSError as error:
        return denied(error)
    return "direct: allowed"


@attempt
def the_pins(name):
    try:
        found = os.listdir("/sys/fs/bpf/interceptor")
        for root, _, files in os.walk("/sys/fs/bpf/interceptor"):
            for file in files:
                os.unlink(os.path.join(root, file))
        return f"direct: {found}" if found else "refused nothing to see"
    except OSError as error:
        return denied(error)


def main():
    chosen = sys.argv[5:]
    for name, function in ATTEMPTS:
        if chosen and not any(word.replace("_", " ") in name for word in chosen):
            continue
        try:
            seen = function(name)
        except ssl.SSLError as error:
            seen = f"denied {error.reason or error}"
        except (TimeoutError, socket.timeout):
            seen = "denied, silently: nothing within the client's patience"
        except OSError as error:
            code = errno.errorcode.get(error.errno, str(error))
            seen = f"{'refused' if error.errno in (errno.ECONNREFUSED, errno.EPERM, errno.ENETUNREACH) else 'denied'} {code}"
        print(json.dumps({"attempt": name, "seen": seen}), flush=True)


main()
