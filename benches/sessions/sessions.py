"""What sessions cost when there are a million of them (S37, S38): memory, start, lookup, durable logins, p99 in bad moments.

The release binary with its real store. One worker on core 0; wrk, the sampler and the upstream on core 1. Figures of time drift with
the machine, so each is printed beside a control of the same run. What could not be had is UNMEASURED, never 0.
"""

import argparse
import datetime
import http.client
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compare"))

import report  # noqa: E402
from measure import DRIFT_BOUND, UNMEASURED, Sample, counters, spent, spread  # noqa: E402
from peers import BOTH, FLUIDGATE, PROXY_CORE, RIG_CORE, ROOT, Rig, Unmeasurable, free_port, program  # noqa: E402

BEGIN, END = "<!-- sessions: begin, written by ./scripts/bench-sessions --write -->", "<!-- sessions: end -->"
USERS, PASSWORD = 1000, "alice-correct-horse-battery-41"
# The least Argon2id there is: what is measured comes after the password.
HASH = "$argon2id$v=19$m=64,t=1,p=1$Zmx1aWRnYXRlc2FsdDEyMw$jp3/xGtYX6blaCAIXTdYAIzwQCFu7ATyblgA47suejA"
SLED_CACHE = 16 << 20
RESTING = 2_000_000  # CPU nanoseconds a second
PARTS = ["start", "table", "lookup", "activity", "storm", "sweep"]


class Gateway:
    """A gateway with `sessions` sessions in its store, not running yet."""

    def __init__(self, rig, sessions, upstream, fill, lives=86_400):
        self.rig, self.sessions, self.name = rig, sessions, f"{sessions:,} sessions"
        self.home = rig.folder / f"gateway-{sessions}-{lives}"
        (self.home / "state").mkdir(parents=True, mode=0o700)
        (self.home / "secret.key").touch(mode=0o600)
        (self.home / "secret.key").write_text(rig.run(["secret"]))
        users = self.home / "users.toml"
        users.touch(mode=0o600)
        users.write_text("".join(f'[users.user{number}]\npassword = "{HASH}"\ngroups = ["staff"]\n' for number in range(USERS)))
        self.port, self.management = free_port(), free_port()
        (self.home / "gateway.toml").write_text(
            f"""[server]
listen = ["127.0.0.1:{self.port}"]
workers = 1

[session]
secrets = ["file:secret.key"]
store = {{ type = "sled", path = "state/sessions" }}

[session.cookie]
secure = false

[login.password]
users = "users.toml"

[login.password.hashing]
memory_kib = 1024
iterations = 1
queue = 1024

[login.throttle]
per_account = 1000000
per_source = 1000000

[management]
listen = "127.0.0.1:{self.management}"

[access_log]
target = "off"

[[routes]]
path = "/"
upstream = ["http://127.0.0.1:{upstream}"]
counts_as_activity = false

[[routes]]
path = "/active"
upstream = ["http://127.0.0.1:{upstream}"]
"""
        )
        self.cookies, self.program = self.home / "cookies", fill
        self.fill(sessions, lives, self.cookies)

    def fill(self, sessions, lives, cookies):
        """Adds that many sessions to its store. It must not run."""
        began = time.monotonic()
        argv = [self.program, self.home / "gateway.toml", sessions, lives, cookies]
        done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            raise Unmeasurable(f"filling: {done.stdout}{done.stderr}".strip()[-400:])
        print(f"{self.name}: {sessions:,} filled in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    def start(self, cores=PROXY_CORE):
        """Starts it; gives the seconds until /readyz said yes."""
        began = time.monotonic()
        log = self.home / "gateway.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                ["taskset", "-c", cores, FLUIDGATE, "run", "-c", str(self.home / "gateway.toml")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "FLUIDGATE_LOG": "info,fluidgate::session=debug"},
            )  # fmt: skip
        self.rig.running.append(self.process)
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.management, timeout=5)
                connection.request("GET", "/readyz")
                ready = connection.getresponse().status == 200
                connection.close()
                if ready:
                    return time.monotonic() - began
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - began > 120:
                raise Unmeasurable(f"{self.name}: {log.read_text()[-400:]}")
            time.sleep(0.005)  # between two questions

    def settle(self):
        """Waits until it does next to nothing by itself; gives the seconds. sled cleans up for a while after a store was filled, which
        is no part of what a lookup costs."""
        began, quiet = time.monotonic(), 0
        while quiet < 3:
            if time.monotonic() - began > 180:
                raise Unmeasurable(f"{self.name}: its store still cleans up after three minutes")
            before = counters(self)
            time.sleep(2)  # a sample
            after = counters(self)
            if self.process.poll() is not None:
                raise Unmeasurable(f"{self.name}: it has ended with {self.process.returncode}")
            # One whose thread has ended is still busy with itself.
            rests = before.keys() <= after.keys() and spent(before, after) < RESTING * 2
            quiet = quiet + 1 if rests else 0
        return time.monotonic() - began

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)
        if self.process in self.rig.running:
            self.rig.running.remove(self.process)

    def processes(self):
        return [self.process.pid]

    def resident(self):
        return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text(), re.M)[1]) * 1024

    def live(self):
        """What it said it found at its last start."""
        return int(re.findall(r"live=(\d+)", (self.home / "gateway.log").read_text())[-1])


def wrk(port, script, seconds, connections, environment):
    """Requests, seconds, answers that were not wanted."""
    argv = ["taskset", "-c", RIG_CORE, program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script)]
    argv.append(f"http://127.0.0.1:{port}/")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, env={**os.environ, **environment})
    found = re.search(r"^TOTALS ([\d ]+)$", done.stdout, re.M)
    if not found:
        raise Unmeasurable(f"wrk: {done.stdout}{done.stderr}".strip()[-400:])
    requests, size, micros, *errors = map(int, found[1].split())
    return requests, size, micros / 1e6, errors


def lookup(gateway, seconds, connections, path="/", **more):
    """CPU nanoseconds of the whole process per proxied request with random sessions; `more` for the generator."""
    environment = {"COOKIES": str(gateway.cookies), "ASK": path, **more}
    wrk(gateway.port, "cookies.lua", 1, connections, environment)
    before = counters(gateway)
    requests, size, took, errors = wrk(gateway.port, "cookies.lua", seconds, connections, environment)
    after = counters(gateway)
    if any(errors) or not requests or size / requests < 1024:
        raise Unmeasurable(f"{gateway.name}: errors {errors}, {size} bytes for {requests} requests")
    return Sample(requests, took, before, after).cpu


class Sampler(threading.Thread):
    """One proxied request after the other on one connection: the moment and the milliseconds of each."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.samples, self.ending, self.fault = gateway, [], False, None

    def run(self):
        request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {self.gateway.cookie}\r\n\r\n".encode()
        try:
            with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=20) as stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while not self.ending:
                    began = time.perf_counter()
                    stream.sendall(request)
                    answer = stream.recv(65536)
                    while not answer.endswith(b"cdef"):
                        piece = stream.recv(65536)
                        if not piece:
                            raise OSError("cut")
                        answer += piece
                    if not answer.startswith(b"HTTP/1.1 200"):
                        raise OSError(answer[:60].decode())
                    self.samples.append((time.time(), (time.perf_counter() - began) * 1000))
        except OSError as error:
            self.fault = error

    def stop(self):
        self.ending = True
        self.join()
        if self.fault:
            raise Unmeasurable(f"sampler: {self.fault}")


def p99(samples, begin, end):
    """p99 in ms of the samples in the window; at least 200 are needed."""
    inside = sorted(took for moment, took in samples if begin <= moment <= end)
    if len(inside) < 200:
        raise Unmeasurable(f"{len(inside)} samples in the window")
    return inside[int(len(inside) * 0.99)], len(inside)


def cookie_of_login(rig, gateway):
    """A session of our own, which outlives those of the store."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request(
        "POST", "/_auth/login", f"username=user0&password={PASSWORD}&return_to=%2F",
        {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    return connection.getresponse().getheader("Set-Cookie").split(";")[0]


def storm(rig, gateway, seconds):
    """Logins per second, p99 calm and in the storm, CPU of the writer."""
    gateway.cookie = cookie_of_login(rig, gateway)
    sampler = Sampler(gateway)
    sampler.start()
    time.sleep(seconds)
    middle = time.time()
    # Calm is a machine that is as busy, with requests that log nobody in: else it would measure the generator's core.
    wrk(gateway.port, "cookies.lua", seconds, 64, {"COOKIES": str(gateway.cookies)})
    busy = time.time()
    requests, _, took, errors = wrk(gateway.port, "login.lua", seconds, 64, {"USERS": str(USERS), "PASSWORD": PASSWORD})
    end = time.time()
    sampler.stop()
    if any(errors):
        raise Unmeasurable(f"logins: errors (connect, read, write, not signed in, timeout) {errors} of {requests}")
    calm = p99(sampler.samples, middle - seconds, middle)[0]
    return requests / took, calm, p99(sampler.samples, middle, busy)[0], p99(sampler.samples, busy, end)[0]


def compared(cases, options):
    """Each case once a round, in alternating order; `cases` are pairs of a name and a measurement."""
    samples = {name: [] for name, _ in cases}
    for number in range(options.rounds):
        for name, measured in cases if number % 2 == 0 else reversed(cases):
            samples[name].append(measured())
    return samples


def versus(samples, name, base):
    """The medians of a case, and of its ratios to another of the same round."""
    ratios = [value / first for value, first in zip(samples[name], samples[base], strict=True)]
    words = f"{statistics.median(samples[name]) / 1000:.2f} µs; × {base}: {statistics.median(ratios):.3f}"
    return f"{words} ({min(ratios):.3f} to {max(ratios):.3f})"


def lookups(small, middle, large, options):
    """What the number of sessions does to a request, apart from what a million cookies do to the generator beside it.

    The generator shares the last cache with the gateway. So the row is held against a gateway with a thousand sessions while the
    generator reads through the same million cookies. What is left is the lookup: its cache and page-table misses.
    """
    few, reading = str(1000), str(large.cookies)
    quiet, control = small.name, f"{small.name}, generator reads a million"
    print(f"{large.name}: settled after {large.settle():.0f} s", file=sys.stderr, flush=True)
    cases = [
        (quiet, lambda: lookup(small, options.seconds, 32)),
        (control, lambda: lookup(small, options.seconds, 32, BESIDE=reading)),
        (middle.name, lambda: lookup(middle, options.seconds, 32)),
        (f"{large.name}, a thousand of them asked for", lambda: lookup(large, options.seconds, 32, FEW=few)),
        (large.name, lambda: lookup(large, options.seconds, 32)),
    ]
    samples = compared(cases, options)
    rows = [
        (f"CPU per proxied request, {name}", versus(samples, name, control if name == large.name else quiet),
         "≤ 1.03" if name == large.name else "")
        for name, _ in cases
    ]  # fmt: skip
    drift = spread(samples[quiet])
    rows.append((f"spread of the control ({quiet})", f"{drift:.1%}", f"≤ {DRIFT_BOUND:.0%}, else no conclusion"))
    return rows, drift


def activity(small, large, options):
    """On "/active" each session's first request in a minute also writes its activity: with many sessions, nearly every one."""
    cases = [(gateway.name, lambda gateway=gateway: lookup(gateway, options.seconds, 32, "/active")) for gateway in (small, large)]
    samples = compared(cases, options)
    return [(f"CPU per proxied request, {name}, its activity written", versus(samples, name, small.name), "") for name, _ in cases]


def sweep(rig, gateway, dying):
    """p99 calm and during the clean-up of the `dying` in the store; how many and how long."""
    gateway.cookie = cookie_of_login(rig, gateway)
    sampler = Sampler(gateway)
    sampler.start()
    deadline = time.monotonic() + 400
    found = None
    while found is None:
        time.sleep(1)
        for line in (gateway.home / "gateway.log").read_text().splitlines():
            cleaned = re.match(r"(\S+)Z .*sessions cleaned.*removed=(\d+).*took_ms=(\d+)", line)
            if cleaned and int(cleaned[2]) > dying / 10:
                found = cleaned
        if time.monotonic() > deadline:
            sampler.stop()
            raise Unmeasurable("no clean-up of many sessions was seen in 400 s")
    end = datetime.datetime.fromisoformat(found[1] + "+00:00").timestamp()
    begin = end - int(found[3]) / 1000
    sampler.stop()
    calm, _ = p99(sampler.samples, begin - 20, begin)
    during, count = p99(sampler.samples, begin, end)
    return int(found[2]), int(found[3]) / 1000, calm, during, count


def rows(options, problems):
    """The table's rows: figure, value, aim; and how far the control drifted."""
    found, drift = [], 0.0

    def attempt(name, aim, measured):
        try:
            found.append((name, measured(), aim))
        except (Unmeasurable, subprocess.SubprocessError, OSError, ValueError, TypeError, KeyError) as error:
            problems[name] = repr(error)
            found.append((name, UNMEASURED, aim))

    with tempfile.TemporaryDirectory(prefix="sessions-", dir=ROOT / "target/tmp") as folder:
        rig = Rig(folder)
        try:
            upstream = rig.upstream().port
            sizes = sorted({1000, options.sessions // 10, options.sessions})
            gateways = [Gateway(rig, sessions, upstream, options.fill) for sessions in sizes]
            small, middle, large = gateways
            for gateway in gateways[:-1]:
                gateway.start()
            starts = []
            for _ in range(3 if "start" in options.only else 1):
                starts.append(large.start(BOTH))
                large.stop()
            large.start()
            for gateway in gateways:
                if gateway.live() != gateway.sessions:
                    raise Unmeasurable(f"{gateway.name}: {gateway.live()} were found at start")
            if "start" in options.only:
                attempt(
                    f"start to ready with {large.name}", "≤ 5 s",
                    lambda: f"{statistics.median(starts):.2f} s ({min(starts):.2f} to {max(starts):.2f})",
                )  # fmt: skip
                attempt("resident memory per session, all of the process", "", lambda: memory(small, large, 0))
                attempt(
                    f"the same without the store's own cache ({SLED_CACHE >> 20} MiB)", "≤ 200 bytes",
                    lambda: memory(small, large, SLED_CACHE),
                )  # fmt: skip
            if "table" in options.only:
                attempt("of these the session table alone (its own test)", "≤ 200 bytes", table_bytes)
            if "lookup" in options.only:
                measured, drift = lookups(small, middle, large, options)
                found += measured
            if "activity" in options.only:
                found += activity(small, large, options)
            for gateway in gateways:
                gateway.stop()
            # The writer and the sweeper have threads of their own: here they may use the other core, as they would.
            if "storm" in options.only:
                try:
                    small.start(BOTH)
                    rate, calm, busy, stormy = storm(rig, small, options.seconds * 2)
                    found.append(("durable logins per second past the password check", f"{rate:,.0f}", "≥ 2,000"))
                    found.append(("p99 of a proxied request, calm", f"{calm:.2f} ms", ""))
                    found.append(("p99 of a proxied request, beside as many connections of plain requests", f"{busy:.2f} ms", ""))
                    found.append(("p99 of a proxied request, in a login storm", f"{stormy:.2f} ms; × calm {stormy / calm:.2f}; × plain load {stormy / busy:.2f}", "≤ 1.25"))
                except Unmeasurable as error:
                    problems["login storm"] = str(error)
                    found.append(("durable logins per second past the password check", UNMEASURED, "≥ 2,000"))
                small.stop()
            if "sweep" in options.only:
                try:
                    # Beside the million that live on. They must still live when the gateway has started.
                    large.fill(options.sweep, 50 + options.sweep // 5_000, large.home / "dying")
                    large.start(BOTH)
                    removed, took, calm, during, count = sweep(rig, large, options.sweep)
                    found.append(
                        (f"p99 of a proxied request while {removed:,} expired sessions of {large.name} are swept ({took:.1f} s, {count} samples)",
                         f"{during:.2f} ms; calm {calm:.2f} ms; × {during / calm:.2f}", "≤ 1.25")
                    )  # fmt: skip
                except Unmeasurable as error:
                    problems["sweep"] = str(error)
                    found.append(("p99 of a proxied request during a sweep", UNMEASURED, "≤ 1.25"))
        finally:
            rig.close()
    return found, drift


def memory(small, large, apart):
    """What a session more costs the process, in bytes; `apart` is what does not count."""
    return f"{(large.resident() - small.resident() - apart) / (large.sessions - small.sessions):.0f} bytes"


def table_bytes():
    argv = ["cargo", "test", "--locked", "--lib", "session::tests::size", "--", "--ignored", "--nocapture"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    found = re.search(r"^(\d+) bytes per session", done.stdout, re.M)
    if not found:
        raise Unmeasurable(done.stderr[-300:])
    return f"{found[1]} bytes"


def main():
    parser = argparse.ArgumentParser(description="What a million sessions cost.")
    parser.add_argument("--fill", required=True, help="the program that fills a store")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--sweep", type=int, default=20_000, help="sessions that expire at once, beside the others")
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS, help=f"some of {','.join(PARTS)}; default all")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5, for a conclusion")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    if options.sessions <= 10_000:
        parser.error("--sessions takes more than 10000: the smallest gateway has 1000, the middle one a tenth")
    if set(options.only) - set(PARTS):
        parser.error(f"--only takes {','.join(PARTS)}")
    (ROOT / "target/tmp").mkdir(parents=True, exist_ok=True)
    problems = {}
    try:
        found, drift = rows(options, problems)
    except Unmeasurable as error:
        print(f"{UNMEASURED}: {error}")
        return 2
    sound = drift <= DRIFT_BOUND and options.rounds >= 5 and not problems
    whole = sorted(options.only) == sorted(PARTS)
    lines = ["| figure | measured | aim |", "| --- | --- | --- |", *(f"| {name} | {value} | {aim} |" for name, value, aim in found)]
    lines += ["", f"{options.rounds} rounds of {options.seconds} s with 32 connections; one worker on core {PROXY_CORE} (for the start, the storm and the sweep on both), "
              f"generator and upstream on core {RIG_CORE}; {USERS} users; the store's files in the page cache; medians (min to max)."]  # fmt: skip
    if not sound:
        lines += ["", "**No conclusion**: the control drifted, a figure is missing, or there were fewer than 5 rounds."]
    lines += [f"\n{name}: {UNMEASURED}: {' '.join(why.split())[:400]}" for name, why in problems.items()]
    print("\n".join(lines))
    if options.write and sound and whole:
        report.write("\n".join(lines), BEGIN, END)
        print("\nwritten to docs/performance.md", file=sys.stderr)
    elif options.write:
        print("\nnot written", file=sys.stderr)
    return 0 if sound else 2


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
