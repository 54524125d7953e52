"""One connection attempt, described by JSON in the first argument; prints what came of it as JSON.

Keys: to [address, port], kind tcp|udp|mptcp, and optionally how (connect, nonblocking, sendto, fastopen, thread), source,
v6only, device, mark, move (cgroup.procs file
of the cgroup to go to between making the socket and connecting it).
"""

import errno
import json
import os
import select
import socket
import sys
import threading

spec = json.loads(sys.argv[1])
address, port = spec["to"]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = spec.get("kind", "tcp")
how = spec.get("how", "connect")
result = {"pid": os.getpid(), "tid": os.getpid()}

IPPROTO_MPTCP = 262


def attempt():
    if kind == "udp":
        sock = socket.socket(family, socket.SOCK_DGRAM)
    else:
        sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if kind == "mptcp" else 0)
    sock.settimeout(5)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(spec.get("v6only", False)))
    if "device" in spec:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, spec["device"].encode())
    if "mark" in spec:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, spec["mark"])
    if "source" in spec:
        sock.bind((spec["source"], 0))
    if "move" in spec:
        with open(spec["move"], "w") as procs:
            procs.write(str(os.getpid()))
    if how == "sendto":
        sock.sendto(b"x", (address, port))
    elif how == "fastopen":
        # A socket with a timeout does not block, and would be told EINPROGRESS.
        sock.settimeout(None)
        sock.sendto(b"x", socket.MSG_FASTOPEN, (address, port))
        sock.settimeout(5)
    elif how == "nonblocking":
        sock.setblocking(False)
        status = sock.connect_ex((address, port))
        if status == errno.EINPROGRESS:
            select.select([], [sock], [], 5)
            status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        sock.settimeout(5)
    else:
        sock.connect((address, port))
    if how != "sendto":
        result["peer"] = sock.getpeername()[:2]
        result["local"] = sock.getsockname()[:2]
    if kind != "udp":
        said = sock.makefile().readline()
        result["said"] = said.strip()
    sock.close()


def guarded():
    result["tid"] = threading.get_native_id()
    try:
        attempt()
    except OSError as error:
        result["error"] = errno.errorcode.get(error.errno, str(error))


if how == "thread":
    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
else:
    guarded()
print(json.dumps(result))
