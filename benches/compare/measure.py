"""How a figure is had: CPU by the kernel's count, load whose every answer is checked, rounds in alternating order, their ratios.

Counted is the CPU time of the whole process tree in nanoseconds that the kernel says it ran (/proc/PID/task/*/schedstat).
"""

import pathlib
import re
import statistics
import subprocess
import sys
import time

from peers import RIG_CORE, SIZES, Unmeasurable, program
from tls_client import SUITE

DRIFT_BOUND = 0.10
ENOUGH = 5  # rounds, for a conclusion
UNMEASURED = "UNMEASURED"
PROTOCOLS = {"h1": "HTTP/1.1", "h1s": "HTTP/1.1 over TLS", "h2s": "HTTP/2 over TLS"}


class Sample:
    """What one run of one contestant cost, per request; CPU in nanoseconds."""

    def __init__(self, requests, seconds, before, after):
        cpu, self.voluntary, self.involuntary = (spent(before, after, field) / requests for field in range(3))
        if cpu <= 0:
            raise Unmeasurable("the kernel counted no CPU time")
        self.cpu = cpu
        self.rate = requests / seconds
        self.busy = cpu * self.rate / 1e9


def counters(peer):
    """Of each thread of the process tree: CPU nanoseconds, voluntary and involuntary context switches so far."""
    found = {}
    for pid in peer.processes():
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                cpu = int((task / "schedstat").read_text().split()[0])
                status = (task / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended; if it was counted before, the sample says so
            switches = (
                int(re.search(rf"^{kind}_ctxt_switches:\s+(\d+)", status, re.M)[1]) for kind in ("voluntary", "nonvoluntary")
            )
            found[task.name] = (cpu, *switches)
    return found


def spent(before, after, field=0):
    """What two counts of one peer differ by, over all of its threads: CPU nanoseconds, or another field."""
    if before.keys() - after.keys():
        raise Unmeasurable("a thread ended during the run and took its count with it")
    return sum(task[field] for task in after.values()) - sum(task[field] for task in before.values())


def h2load(peer, cookie, requests, protocol="h1", path="/", connections=32, fields=None, cores=RIG_CORE, threads=1):
    """Sends that many requests, each of which must come back with 200 and its whole body; gives the seconds it took. `fields` are
    more headers of each."""
    port, scheme = (peer.port, "http") if protocol == "h1" else (peer.tls, "https")
    if port is None:
        raise Unmeasurable("it does not speak TLS here")
    streams = 1
    if protocol == "h2s":
        connections, streams = max(1, connections // 4), 4
    argv = [
        "taskset",
        "-c",
        cores,
        program("h2load"),
        f"-n{requests}",
        f"-c{connections}",
        f"-m{streams}",
        f"-t{threads}",
        f"--tls13-ciphers={SUITE}",
    ]
    argv += [] if protocol == "h2s" else ["--h1"]
    argv += ["-H", f"Cookie: {cookie}"] if cookie else []
    for name, value in (fields or {}).items():
        argv += ["-H", f"{name}: {value}"]
    argv.append(f"{scheme}://127.0.0.1:{port}{peer.path}{path}")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as error:
        raise Unmeasurable("h2load did not end: an answer is missing") from error
    said = done.stdout
    took = re.search(r"^finished in ([\d.]+)(us|ms|s|min),", said, re.M)
    good = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said, re.M)
    data = re.search(r"^traffic: .* \((\d+)\) data", said, re.M)
    if not (took and good and data):
        raise Unmeasurable(f"h2load: {said[-300:]}{done.stderr[-300:]}".strip())
    spoken = re.search(r"^Application protocol: (\S+)", said, re.M)
    if spoken and spoken[1] != ("h2" if protocol == "h2s" else "http/1.1"):
        raise Unmeasurable(f"it spoke {spoken[1]}")
    if scheme == "https" and f"Cipher: {SUITE}" not in said:
        raise Unmeasurable("it spoke another cipher suite")
    if int(good[1]) != requests:
        raise Unmeasurable(f"{requests} asked, answered 2xx, 3xx, 4xx, 5xx: {', '.join(good.groups())}")
    if int(data[1]) != requests * SIZES[path]:
        raise Unmeasurable(f"{data[1]} bytes for {requests} answers of {SIZES[path]}")
    return float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60}[took[2]]


class Loaded:
    """A contestant under one kind of load: how fast it is, so that each run lasts as long, and what a request costs it."""

    def __init__(self, peer, cookie, protocol="h1", path="/", connections=32, **more):
        self.peer, self.cookie, self.rate = peer, peer.cookie or cookie, None
        self.how = {"protocol": protocol, "path": path, "connections": connections, **more}

    def warm(self, seconds):
        """The answer is the upstream's own, and everything has been asked once."""
        path = self.how["path"]
        answer = self.peer.answers(path, self.cookie, self.how["protocol"] != "h1")
        if answer != (200, SIZES[path]):
            raise Unmeasurable(f"answers {answer[0]} with {answer[1]} bytes")
        requests = max(64, int((self.rate or 600) * seconds))
        self.rate = requests / h2load(self.peer, self.cookie, requests, **self.how)

    def run(self, seconds):
        """One warm-up and one counted run."""
        if self.rate is None:
            self.warm(0.5)
        self.warm(min(0.5, seconds / 4))
        requests = max(64, int(self.rate * seconds))
        before = counters(self.peer)
        took = h2load(self.peer, self.cookie, requests, **self.how)
        return Sample(requests, took, before, counters(self.peer))


def had(values):
    """How many of them there are."""
    return sum(value is not None for value in values)


def rounds(bench, part, group, cases, control=None, unit="", aims=None):
    """Each case once a round, in alternating order. A case is a name and a function that gives a number or a dict of them.

    A run that raises is thrown away and reported. A round that the control lost is made up for, twice at most: without it there
    is no ratio for anybody. What was measured goes into the bench, by part, group and case.
    """
    samples, number = {name: [] for name, _ in cases}, 0
    while number < bench.rounds or (control in samples and number < bench.rounds + 2 and had(samples[control]) < bench.rounds):
        for name, measured in cases if number % 2 == 0 else reversed(cases):
            samples[name].append(None)
            try:
                samples[name][number] = measured()
            except (Unmeasurable, OSError, ValueError, subprocess.SubprocessError) as error:
                bench.thrown_away(part, group, name, number + 1, error)
                continue
            said = samples[name][number]
            said = said if isinstance(said, dict) else {"": said}
            words = ", ".join(f"{key} {value:.6g}".strip() for key, value in said.items())
            print(f"{part}: {group}: round {number + 1}: {name}: {words}", file=sys.stderr, flush=True)
        number += 1
    return bench.add(part, group, samples, control, unit, aims or {})


def spread(values):
    """(largest − smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def system_calls(peer, run):
    """System calls over the process tree while `run` runs, counted by strace; gives their number and what `run` gave."""
    pids = peer.processes()
    tracer = subprocess.Popen(
        ["taskset", "-c", RIG_CORE, program("strace"), "-c", "-f", *[part for pid in pids for part in ("-p", str(pid))]],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while not all(re.search(r"^TracerPid:\s+[1-9]", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M) for pid in pids):
            if tracer.poll() is not None or time.monotonic() > deadline:
                raise Unmeasurable("strace cannot attach here")
            time.sleep(0.02)  # between two questions
        gave = run()
        tracer.terminate()
        _, said = tracer.communicate(timeout=20)
    finally:
        if tracer.poll() is None:
            tracer.kill()
            tracer.wait()
    total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)?\s+total", said, re.M)
    if not total:
        raise Unmeasurable("strace printed no total")
    return int(total[1]), gave
