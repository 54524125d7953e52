"""Many streaming requests at once, while something happens to the daemon.

usage: streams.py SCENARIO STREAMS TOKENS DELAY_MS -- DAEMON COMMAND...

Scenarios: kill, stop, restart, upgrade. DAEMON COMMAND starts another daemon, where the scenario needs one. While it
happens, a prober connects every few milliseconds. Prints one JSON document of counts.
"""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time

NAME, CARD = "api.openai.com", "4111 1111 1111 1111"
SCENARIO, STREAMS, TOKENS, DELAY = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
COMMAND = sys.argv[6:]
STATE = os.environ["INTERCEPTOR_STATE"]
PID_FILE = f"{STATE}/run/daemon.pid"

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE

counts = {"direct": 0, "intercepted": 0}


def daemon():
    with open(PID_FILE) as file:
        return int(file.read())


def has_ended(pid):
    """Whether a process is gone or waits to be reaped; it may go at any moment, also while it is looked at."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_direct(writer):
    """Captured connections run over loopback, and no other does in the lab."""
    return writer.get_extra_info("sockname")[0] not in ("127.0.0.1", "::1")


def judge(writer):
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    direct = is_direct(writer) or b"Interceptor CA" not in certificate
    counts["direct" if direct else "intercepted"] += 1


def request(tokens, delay):
    message = {"role": "user", "content": f"card {CARD}"}
    body = json.dumps({"model": "m", "stream": True, "messages": [message]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n"
    head += f"x-lab-tokens: {tokens}\r\nx-lab-delay-ms: {delay}\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


class Stream:
    """One streaming request: how many events it got, and whether it came to its end."""

    def __init__(self):
        self.events, self.ended, self.error = 0, False, None

    async def run(self, tokens, delay, patience=60):
        try:
            async with asyncio.timeout(patience):
                await self.exchange(tokens, delay)
        except TimeoutError:
            self.error = "timeout"
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            self.error = type(error).__name__
        return self

    async def exchange(self, tokens, delay):
        family_host = "203.0.113.10" if id(self) % 32 else "2001:db8::10"
        reader, writer = await asyncio.open_connection(family_host, 443, ssl=TLS, server_hostname=NAME)
        try:
            judge(writer)
            writer.write(request(tokens, delay))
            while line := await reader.readline():
                self.events += line.startswith(b"data: {")
                if line.startswith(b"data: [DONE]"):
                    self.ended = True
                    return
                if line.startswith(b"HTTP/1.1 ") and b" 200 " not in line:
                    self.error = line.decode().strip()
                    return
        finally:
            writer.transport.abort()


class Prober:
    """Bare connections, one after the other: what became of each, in phases."""

    def __init__(self):
        self.phase, self.seen, self.running = "before", {}, True

    async def run(self):
        turn = 0
        while self.running:
            turn += 1
            phase = self.phase
            outcome = await self.once("203.0.113.10" if turn % 2 else "2001:db8::10")
            phase_counts = self.seen.setdefault(phase, {})
            phase_counts[outcome] = phase_counts.get(outcome, 0) + 1
            await asyncio.sleep(0.01)

    async def once(self, host):
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(host, 443)
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return type(error).__name__
        direct = is_direct(writer)
        writer.transport.abort()
        counts["direct"] += direct
        return "direct" if direct else "connected"


async def start_another():
    """The next daemon, as a service manager would start it; returns when it says that it is ready."""
    before = open(PID_FILE).read() if os.path.exists(PID_FILE) else ""
    log = open(f"{STATE}/run/journal.log", "ab")
    subprocess.Popen(COMMAND, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    await another_pid(before)


async def another_pid(before):
    deadline = time.monotonic() + 40
    while not os.path.exists(PID_FILE) or open(PID_FILE).read() in ("", before):
        if time.monotonic() > deadline:
            raise SystemExit("no other daemon")
        await asyncio.sleep(0.02)


async def until_served():
    """The first request that succeeds; how many did not before."""
    failed = 0
    deadline = time.monotonic() + 40
    while not (await Stream().run(2, 1, patience=5)).ended:
        failed += 1
        if time.monotonic() > deadline:
            raise SystemExit("service did not resume")
        await asyncio.sleep(0.05)
    return failed


async def happen(prober, streams):
    if SCENARIO == "kill":
        prober.phase = "dying"
        os.kill(daemon(), signal.SIGKILL)
        await asyncio.sleep(0.2)
        prober.phase = "dead"
        await asyncio.gather(*streams)
        await asyncio.sleep(1)
        prober.phase = "starting"
        await start_another()
    elif SCENARIO == "stop":
        pid = daemon()
        os.kill(pid, signal.SIGSTOP)
        prober.phase = "hanging"
        await asyncio.sleep(3)
        prober.phase = "stale"
        await asyncio.sleep(1.5)
        prober.phase = "continuing"
        os.kill(pid, signal.SIGCONT)
    elif SCENARIO == "restart":
        pid = daemon()
        prober.phase = "restarting"
        os.kill(pid, signal.SIGTERM)
        while not has_ended(pid):
            await asyncio.sleep(0.02)
        await start_another()
    elif SCENARIO == "upgrade":
        before = open(PID_FILE).read()
        prober.phase = "upgrading"
        os.kill(int(before), signal.SIGHUP)
        await another_pid(before)


async def main():
    prober = Prober()
    probing = asyncio.create_task(prober.run())
    streams = [Stream() for _ in range(STREAMS)]
    tasks = [asyncio.create_task(stream.run(TOKENS, DELAY)) for stream in streams]
    deadline = time.monotonic() + 60
    while not all(stream.events for stream in streams):
        broken = [stream.error for stream in streams if stream.error]
        if broken or time.monotonic() > deadline:
            raise SystemExit(f"not all streams started: {broken[:5]}, {sum(not s.events for s in streams)} without")
        await asyncio.sleep(0.02)
    running = sum(not task.done() for task in tasks)
    await happen(prober, tasks)
    failed = await until_served()
    prober.phase = "after"
    await asyncio.sleep(0.5)
    await asyncio.gather(*tasks)
    prober.running = False
    await probing
    complete = sum(stream.ended and stream.events >= TOKENS for stream in streams)
    errors = {}
    for stream in streams:
        if not stream.ended:
            errors[stream.error or "closed"] = errors.get(stream.error or "closed", 0) + 1
    print(json.dumps({
        "scenario": SCENARIO, "streams": STREAMS, "running": running, "complete": complete, "broken": errors,
        "failed_before_service": failed, "connections": counts, "probes": prober.seen,
    }))


asyncio.run(main())
