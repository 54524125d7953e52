"""A service manager of one service, inside the lab: it keeps the daemon's descriptors and starts it again.

Prints one JSON document: what the daemon told it, and what became of connections made while no daemon ran.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

STATE = os.environ["INTERCEPTOR_STATE"]
PROGRAM = sys.argv[1]
HOST = "api.openai.com"
CONFIG = f"{STATE}/lab/config.toml"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


class Manager:
    """NOTIFY_SOCKET, the descriptor store, and the main process."""

    def __init__(self):
        self.path = f"{STATE}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(60)
        self.store = []
        self.told = []
        self.main = None

    def start(self):
        pid = os.fork()
        if pid == 0:
            self.become_daemon()
        self.main = pid

    def become_daemon(self):
        try:
            mine = open("/proc/self/cgroup").read().strip().rsplit("\n", 1)[-1].split("::", 1)[1]
            mount = next(line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup2 " in line)
            with open(f"{mount}{os.path.dirname(mine)}/daemon/cgroup.procs", "w") as procs:
                procs.write("0")
            high = [os.dup2(fd, 200 + n) for n, (_, fd) in enumerate(self.store)]
            for n, fd in enumerate(high):
                os.dup2(fd, 3 + n, inheritable=True)
            os.closerange(3 + len(high), 500)
            journal = os.open(f"{STATE}/run/journal.log", os.O_WRONLY | os.O_APPEND)
            os.dup2(journal, 1)
            os.dup2(journal, 2)
            environment = dict(os.environ, NOTIFY_SOCKET=self.path, WATCHDOG_USEC="400000")
            if high:
                environment["LISTEN_FDS"] = str(len(high))
                environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in self.store)
                environment["LISTEN_PID"] = str(os.getpid())
            os.execve(PROGRAM, [PROGRAM, "run", "--config", CONFIG, "--state", STATE], environment)
        finally:
            os._exit(99)

    def wait_for(self, *wanted):
        """Takes messages until one has all these fields; returns it."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 8)
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            if fields.get("FDSTORE") == "1":
                self.store += [(fields["FDNAME"], fd) for fd in descriptors]
            if fields.get("FDSTOREREMOVE") == "1":
                for name, fd in [kept for kept in self.store if kept[0] == fields["FDNAME"]]:
                    os.close(fd)
                    self.store.remove((name, fd))
            self.told.append(sorted(fields))
            if all(name in fields for name in wanted):
                return fields

    def end(self, number):
        os.kill(self.main, number)
        os.waitpid(self.main, 0)


def connect():
    return socket.create_connection((HOST, 443), timeout=60)


def ask(connection):
    """A whole request over a connection; the status."""
    tls = ssl.create_default_context().wrap_socket(connection, server_hostname=HOST)
    request = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n" \
              f"connection: close\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}"
    tls.sendall(request.encode())
    answer = b""
    while piece := tls.recv(65536):
        answer += piece
    return int(answer.split(b" ", 2)[1])


def while_away(manager, number):
    """Connections made between the end of one daemon and the start of the next."""
    manager.end(number)
    queued = [connect() for _ in range(10)]
    manager.start()
    manager.wait_for("READY")
    return [ask(connection) for connection in queued]


def main():
    first = int(open(f"{STATE}/run/daemon.pid").read())
    os.kill(first, signal.SIGTERM)
    while os.path.exists(f"/proc/{first}/fd/0"):
        time.sleep(0.02)
    manager = Manager()
    manager.start()
    manager.wait_for("READY")
    names = sorted({name for name, _ in manager.store})
    result = {"stored": len(manager.store), "names": names, "first": ask(connect())}
    manager.wait_for("WATCHDOG")
    result["stopped"] = while_away(manager, signal.SIGTERM)
    result["killed"] = while_away(manager, signal.SIGKILL)
    old = manager.main
    os.kill(old, signal.SIGHUP)
    manager.wait_for("RELOADING")
    manager.main = int(manager.wait_for("MAINPID", "READY")["MAINPID"])
    os.waitpid(old, 0)
    result["replaced"] = manager.main != old and ask(connect())
    manager.wait_for("WATCHDOG")
    os.kill(manager.main, signal.SIGTERM)
    while os.path.exists(f"/proc/{manager.main}/fd/0"):
        time.sleep(0.02)
    queued = [connect() for _ in range(10)]
    manager.start()
    manager.wait_for("READY")
    result["after"] = [ask(connection) for connection in queued]
    result["names_at_the_end"] = sorted({name for name, _ in manager.store})
    result["told_of_stopping"] = ["STOPPING"] in manager.told
    # A worker less than there are sockets, and one more.
    text = open(CONFIG).read()
    for count in (1, 5):
        with open(CONFIG, "w") as config:
            config.write(text.replace("[listen]", f"[listen]\nworkers = {count}"))
        result[f"workers_{count}"] = while_away(manager, signal.SIGTERM)
    print(json.dumps(result))


main()
