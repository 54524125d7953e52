"""What another tenant of the kernel may do to the programs of a daemon: `detach PIN`, `deny CGROUP`.

`deny` refuses every IPv4 connection of the cgroup until standard input ends; it prints `denying` when it does.
Numbers are from include/uapi/linux/bpf.h.
"""

import ctypes
import os
import struct
import sys

SYS_BPF = 321
PROG_LOAD, OBJ_GET, LINK_CREATE, LINK_DETACH = 5, 7, 28, 34
PROG_TYPE_CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT = 18, 10
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, *fields):
    attributes = ctypes.create_string_buffer(b"".join(fields), 144)
    result = libc.syscall(SYS_BPF, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result


def pointer(buffer):
    return struct.pack("Q", ctypes.addressof(buffer))


def detach(pin):
    path = ctypes.create_string_buffer(os.fsencode(pin))
    link = bpf(OBJ_GET, pointer(path))
    bpf(LINK_DETACH, struct.pack("I", link))


def deny(cgroup):
    # r0 = 0; exit
    program = ctypes.create_string_buffer(bytes.fromhex("b700000000000000" "9500000000000000"), 16)
    licence = ctypes.create_string_buffer(b"none")
    loaded = bpf(
        PROG_LOAD,
        struct.pack("II", PROG_TYPE_CGROUP_SOCK_ADDR, 2),
        pointer(program),
        pointer(licence),
        # Log level, size and buffer; kernel version and flags; name; interface; attach type.
        struct.pack("IIQII16sII", 0, 0, 0, 0, 0, b"deny_all", 0, CGROUP_INET4_CONNECT),
    )
    link = bpf(LINK_CREATE, struct.pack("IIII", loaded, os.open(cgroup, os.O_RDONLY), CGROUP_INET4_CONNECT, 0))
    print("denying", flush=True)
    sys.stdin.read()
    os.close(link)


{"detach": detach, "deny": deny}[sys.argv[1]](sys.argv[2])
