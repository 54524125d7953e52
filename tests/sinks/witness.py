"""A witness of transparency logs (C2SP tlog-witness) for the tests, which knows nothing of the product.

    witness.py PORT STORE SEED LOGKEY

It knows the one log whose verifier key is in the file LOGKEY, checks each proof itself, cosigns with the Ed25519 key made of
the byte SEED, and keeps what it has seen in STORE. `witness.py key SEED` prints its own verifier key.
"""

import base64
import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "witness.example/w1"


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def secret(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes([int(seed)]) * 32)


def public(key):
    return key.public_key().public_bytes_raw()


if sys.argv[1] == "key":
    raw = public(secret(sys.argv[2]))
    print(f"{NAME}+{key_id(NAME, 4, raw).hex()}+{base64.b64encode(bytes([4]) + raw).decode()}")
    sys.exit()

PORT, STORE, KEY = int(sys.argv[1]), sys.argv[2], secret(sys.argv[3])
log_line = next(line for line in open(sys.argv[4]).read().splitlines() if not line.startswith("#"))
LOG, _, log_key = log_line.split("+", 2)
LOG_KEY = base64.b64decode(log_key)[1:]


class Refused(Exception):
    def __init__(self, status, body="", kind="text/plain"):
        super().__init__(status, body)
        self.status, self.body, self.kind = status, body, kind


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def consistent(m, old, n, new, proof):
    """RFC 6962 section 2.1.2, by its recursive definition: the roots that a proof leads to."""
    proof = list(proof)

    def both(m, n, whole):
        if m == n:
            if whole:
                return old, old
            root = proof.pop(0)
            return root, root
        k = 1
        while k * 2 < n:
            k *= 2
        if m <= k:
            before, after = both(m, k, whole)
            return before, node(after, proof.pop(0))
        before, after = both(m - k, n - k, False)
        left = proof.pop(0)
        return node(left, before), node(left, after)

    try:
        before, after = both(m, n, True)
    except IndexError:
        return False
    return before == old and after == new and not proof


def check_log_signature(body, signatures):
    for line in signatures.splitlines():
        dash, name, signature = line.split(" ")
        raw = base64.b64decode(signature, validate=True)
        if dash == "\u2014" and name == LOG and raw[:4] == key_id(LOG, 1, LOG_KEY):
            try:
                Ed25519PublicKey.from_public_bytes(LOG_KEY).verify(raw[4:], body.encode())
                return
            except InvalidSignature:
                break
    raise Refused(403, "no signature of the key that is known\n")


def add_checkpoint(text):
    head, note = text.split("\n\n", 1)
    at = note.rindex("\n\n") + 1
    body, signatures = note[:at], note[at + 1 :]
    origin, size, root = body.split("\n")[:3]
    if origin != LOG:
        raise Refused(404, "unknown log\n")
    check_log_signature(body, signatures)
    first, *lines = head.split("\n")
    assert first.startswith("old ") and len(lines) <= 63
    old, size, root = int(first[4:]), int(size), base64.b64decode(root, validate=True)
    proof = [base64.b64decode(line, validate=True) for line in lines]
    if old > size:
        raise Refused(400, "the old size is greater\n")
    seen = json.load(open(STORE)) if os.path.exists(STORE) else {"size": 0, "root": hashlib.sha256().hexdigest()}
    if old != seen["size"]:
        raise Refused(409, f"{seen['size']}\n", "text/x.tlog.size")
    if old == size and root.hex() != seen["root"]:
        # The specification has this for a log with two trees of one size.
        raise Refused(409, f"{seen['size']}\n", "text/x.tlog.size")
    if old == 0:
        right = not proof and (size > 0 or root == hashlib.sha256().digest())
    else:
        right = consistent(old, bytes.fromhex(seen["root"]), size, root, proof)
    if not right:
        raise Refused(422, "the log does not go on from what was seen\n")
    with open(STORE + ".tmp", "w") as file:
        json.dump({"size": size, "root": root.hex()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(STORE + ".tmp", STORE)
    with open(STORE + ".seen", "a") as file:
        file.write(f"{old} {size}\n")
    now = int(time.time())
    signature = KEY.sign(f"cosignature/v1\ntime {now}\n{body}".encode())
    raw = key_id(NAME, 4, public(KEY)) + now.to_bytes(8, "big") + signature
    return f"\u2014 {NAME} {base64.b64encode(raw).decode()}\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            if self.path != "/prefix/add-checkpoint":
                raise Refused(405, "no such call\n")
            self.answer(200, add_checkpoint(text))
        except Refused as refused:
            self.answer(refused.status, refused.body, refused.kind)
        except Exception as why:
            self.answer(400, f"{why!r}\n")


class Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", PORT), Handler).serve_forever()
