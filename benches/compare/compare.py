"""Compares the cost of a request: fluidgate beside nginx and HAProxy, in one run on one machine.

Counted is the CPU time of the whole process tree per request, in nanoseconds that the kernel says it ran
(/proc/PID/task/*/schedstat). Contestants have one worker on core 0; wrk and the upstream share core 1. Machines drift, so
only ratios inside one round count: the order is reversed each round, the median of the per-round ratios is what is printed,
and when the control (nginx proxy_pass) itself drifts by more than 10 % nothing is concluded. A figure that could not be had
is UNMEASURED, never 0.
"""

import argparse
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from peers import PROXY_CORE, RIG_CORE, ROOT, Peer, Rig, Unmeasurable, program

HERE = pathlib.Path(__file__).resolve().parent
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- compare: begin, written by ./scripts/bench --write -->", "<!-- compare: end -->"
CONTROL = "nginx proxy_pass"
LOGGED_IN, PUBLIC = "fluidgate, logged in", "fluidgate, public route, no cookie"
DRIFT_BOUND = 0.10
UNMEASURED = "UNMEASURED"


class Sample:
    """What one run of one contestant cost, per request; CPU in nanoseconds."""

    def __init__(self, requests, seconds, before, after):
        if before.keys() - after.keys():
            raise Unmeasurable("a thread ended during the run and took its count with it")
        cpu, self.voluntary, self.involuntary = (
            (sum(task[field] for task in after.values()) - sum(task[field] for task in before.values())) / requests
            for field in range(3)
        )
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
            switches = (int(re.search(rf"^{kind}_ctxt_switches:\s+(\d+)", status, re.M)[1]) for kind in ("voluntary", "nonvoluntary"))
            found[task.name] = (cpu, *switches)
    return found


def load(peer, cookie, seconds, connections):
    """Runs wrk against a contestant; gives requests and seconds. Any error voids the run."""
    argv = ["taskset", "-c", RIG_CORE, program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "report.lua")]
    if cookie and peer.cookie:
        argv += ["-H", f"Cookie: {cookie}"]
    argv.append(f"http://127.0.0.1:{peer.port}{peer.path}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30)
    found = re.search(r"^TOTALS ([\d ]+)$", done.stdout, re.M)
    if not found:
        raise Unmeasurable(f"wrk: {done.stdout}{done.stderr}".strip())
    requests, size, micros, *errors = map(int, found[1].split())
    if any(errors):
        raise Unmeasurable("errors (connect, read, write, status, timeout): " + ", ".join(map(str, errors)))
    # A redirect to a login page would be no error to wrk, but is shorter than the upstream's answer.
    if requests == 0 or size / requests < 1024:
        raise Unmeasurable(f"{size} bytes for {requests} requests: these are not the upstream's answers")
    return requests, micros / 1e6


def measure(peer, cookie, seconds, connections):
    """One warm-up and one counted run."""
    answer = peer.answers(cookie)
    if answer != (200, 1024):
        raise Unmeasurable(f"answers {answer[0]} with {answer[1]} bytes")
    load(peer, cookie, 1, connections)
    before = counters(peer)
    requests, took = load(peer, cookie, seconds, connections)
    return Sample(requests, took, before, counters(peer))


def system_calls(peer, cookie, connections):
    """System calls per request over the process tree, counted by strace in a short run of its own."""
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
        requests, _ = load(peer, cookie, 2, connections)
        tracer.terminate()
        _, said = tracer.communicate(timeout=20)
    finally:
        if tracer.poll() is None:
            tracer.kill()
            tracer.wait()
    total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)?\s+total", said, re.M)
    if not total:
        raise Unmeasurable("strace printed no total")
    return int(total[1]) / requests


def start(rig, problems):
    """Starts everything; gives the contestants that run, the upstream itself and the cookie."""
    upstream = rig.upstream()
    peers, cookie = [rig.nginx_proxy(upstream.port)], None
    for name, begin in (
        ("nginx auth_request, constant", lambda: rig.nginx_auth_constant(upstream.port)),
        ("nginx auth_request, service", lambda: rig.nginx_auth_service(upstream.port)),
        ("HAProxy", lambda: rig.haproxy(upstream.port)),
    ):
        try:
            peers.append(begin())
        except Unmeasurable as error:
            problems[name] = str(error)
    try:
        gateway, cookie = rig.fluidgate(upstream.port)
        gateway.name = LOGGED_IN
        peers.append(gateway)
        peers.append(Peer(PUBLIC, gateway.port, gateway.process, gateway.log, "/public", False))
    except Unmeasurable as error:
        problems[LOGGED_IN] = problems[PUBLIC] = str(error)
    # Every peer parses the same request bytes; without a gateway a cookie of the same size stands in.
    return peers, upstream, cookie or "fluidgate=v1.0." + "A" * 43 + "." + "B" * 43


def spread(values):
    """(largest − smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def table(samples, calls, problems, floor, options):
    """The Markdown table and whether anything may be concluded from it."""
    control = samples.get(CONTROL, {})
    lines = [
        "| contestant | CPU per request, µs: median (min to max) | × nginx proxy_pass: median (min to max) | system calls | "
        "context switches, voluntary / not | core 0 busy | requests/s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in [*samples, *(name for name in problems if name not in samples)]:
        rounds = samples.get(name, {})
        if len(rounds) < options.rounds or name in problems:
            lines.append(f"| {name} | " + " | ".join([UNMEASURED] * 6) + " |")
            continue
        cpu = [sample.cpu / 1000 for sample in rounds.values()]
        ratios = [sample.cpu / control[number].cpu for number, sample in rounds.items() if number in control]
        middle = lambda field: statistics.median(getattr(sample, field) for sample in rounds.values())  # noqa: E731
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) == len(cpu) else UNMEASURED
        called = f"{calls[name]:.2f}" if name in calls else UNMEASURED
        lines.append(
            f"| {name} | {statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f}) | {ratio} | {called} | "
            f"{middle('voluntary'):.3f} / {middle('involuntary'):.3f} | {middle('busy'):.0%} | {middle('rate'):,.0f} |"
        )
    whole = len(control) == options.rounds
    drift = spread([sample.cpu for sample in control.values()]) if whole else None
    lines += [
        "",
        f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, 1 KiB answers, HTTP/1.1 keep-alive on "
        f"both sides, one worker on core {PROXY_CORE}; wrk and the upstream on core {RIG_CORE}. wrk straight to the upstream: "
        f"{floor}. Spread of the control: {f'{drift:.1%}' if whole else UNMEASURED}.",
    ]
    ours, public = (samples.get(name, {}) for name in (LOGGED_IN, PUBLIC))
    if len(ours) == len(public) == options.rounds:
        extra = [(ours[number].cpu - public[number].cpu) / 1000 for number in ours]
        lines += [
            "",
            f"What a session costs (cookie, check, decision, identity headers): logged in less public, in the same round: "
            f"{statistics.median(extra):.2f} µs ({min(extra):.2f} to {max(extra):.2f}).",
        ]
    sound = whole and drift <= DRIFT_BOUND
    if not sound:
        lines += ["", f"**No conclusion**: the control drifted by more than {DRIFT_BOUND:.0%}, or was not measured in every round."]
    for name, why in problems.items():
        lines += ["", f"{name}: {UNMEASURED}: {' '.join(why.split())[:400]}"]
    return "\n".join(lines), sound


def write(text):
    """Puts the table between the markers of docs/performance.md; makes the page when there is none."""
    page = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    if BEGIN not in page or END not in page:
        page += f"\n{BEGIN}\n{END}\n"
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


def main():
    parser = argparse.ArgumentParser(description="Compare fluidgate's cost of a request with nginx's and HAProxy's.")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5")
    parser.add_argument("--seconds", type=int, default=3, help="of each counted run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    if options.rounds < 5 or not 1 <= options.seconds <= 30:
        parser.error("at least 5 rounds, of 1 to 30 seconds")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the contestant, one for load and upstream")
    problems, calls = {}, {}
    with tempfile.TemporaryDirectory(prefix="fluidgate-compare-") as folder:
        rig = Rig(folder)
        try:
            peers, upstream, cookie = start(rig, problems)
            samples = {peer.name: {} for peer in peers}
            requests, took = load(upstream, cookie, 2, options.connections)
            floor = f"{requests / took:,.0f} requests/s"
            for number in range(options.rounds):
                for peer in peers if number % 2 == 0 else reversed(peers):
                    try:
                        sample = measure(peer, cookie, options.seconds, options.connections)
                    except Unmeasurable as error:
                        problems.setdefault(peer.name, f"round {number + 1}: {error}")
                        continue
                    samples[peer.name][number] = sample
                    print(f"round {number + 1}: {peer.name}: {sample.cpu / 1000:.2f} µs, core {sample.busy:.0%} busy", file=sys.stderr, flush=True)
            for peer in peers:
                try:
                    calls[peer.name] = system_calls(peer, cookie, options.connections)
                except Unmeasurable as error:
                    print(f"system calls of {peer.name}: {UNMEASURED}: {error}", file=sys.stderr)
        except Unmeasurable as error:
            print(f"the rig itself failed: {error}")
            return 2
        finally:
            rig.close()
    text, sound = table(samples, calls, problems, floor, options)
    print(text)
    if options.write and sound and not problems:
        write(text)
        print(f"\nwritten to {PAGE.relative_to(ROOT)}", file=sys.stderr)
    elif options.write:
        print(f"\nnot written to {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 0 if sound and not problems else 2


if __name__ == "__main__":
    # A SIGTERM takes the same way out as Ctrl-C, so that nothing is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
