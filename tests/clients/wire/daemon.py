"""The daemon of the lab, as its memory is seen from outside."""

import os


def pid():
    with open(f"{os.environ['INTERCEPTOR_STATE']}/run/daemon.pid") as file:
        return int(file.read())


def resident():
    """Bytes of anonymous memory that are resident: the log's mapping is not the connections' doing."""
    with open(f"/proc/{pid()}/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    raise SystemExit("no RssAnon")
