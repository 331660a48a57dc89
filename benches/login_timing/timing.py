"""Whether the time of a refused login tells who exists (X14): unknown, disabled and known users with a wrong password.

Every round asks each kind once, in an order that changes, one request at a time on a connection of its own. Each pair of kinds is
compared by Welch's t-test and by Mann and Whitney's rank test. A benchmark: it reports, and fails nothing.
"""

import argparse
import http.client
import math
import pathlib
import statistics
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/real"))

import harness  # noqa: E402

KINDS = {"unknown": "nobody-{:06}", "disabled": "bob", "known, wrong password": "alice"}


def refused(port, user):
    """Seconds from the request sent to the whole answer."""
    form = urllib.parse.urlencode({"username": user, "password": "wrong-password-for-everybody"})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    began = time.perf_counter_ns()
    connection.request("POST", "/_auth/login", form, headers)
    answer = connection.getresponse()
    answer.read()
    took = (time.perf_counter_ns() - began) / 1e9
    connection.close()
    if answer.status != 401:
        raise SystemExit(f"void: {user} was answered {answer.status}, not 401")
    return took


def welch(a, b):
    """The two-sided p of Welch's test; samples are large, so the normal distribution stands for Student's."""
    error = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return math.erfc(abs(statistics.mean(a) - statistics.mean(b)) / error / math.sqrt(2))


def ranks(a, b):
    """The two-sided p of the rank-sum test, by its normal approximation."""
    order = sorted((value, which) for which, sample in enumerate((a, b)) for value in sample)
    total = sum(rank for rank, (_, which) in enumerate(order, 1) if which == 0)
    middle = len(a) * (len(a) + len(b) + 1) / 2
    spread = math.sqrt(len(a) * len(b) * (len(a) + len(b) + 1) / 12)
    return math.erfc(abs(total - middle) / spread / math.sqrt(2))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=300)
    rounds = arguments.parse_args().rounds
    folder = harness.Folder()
    limits = "[login.throttle]\nper_account = 1000000\nper_source = 1000000\n"
    route = '[[routes]]\nupstream = ["http://127.0.0.1:9"]\n'
    gateway = harness.Gateway(folder.path, limits + route)
    users = folder.path / "users.toml"
    users.write_text(users.read_text().replace("[users.bob]", "[users.bob]\ndisabled = true"))
    gateway.start()
    times = {kind: [] for kind in KINDS}
    names = list(KINDS)
    for number in range(-10, rounds):
        for kind in names[number % 3 :] + names[: number % 3]:
            took = refused(gateway.port, KINDS[kind].format(abs(number)))
            if number >= 0:
                times[kind].append(took * 1e3)
    gateway.stop()
    print("| refused login of | median ms | mean ms | 95 % ms |\n| --- | --- | --- | --- |")
    for kind, sample in times.items():
        late = sorted(sample)[int(len(sample) * 0.95)]
        print(f"| {kind} | {statistics.median(sample):.2f} | {statistics.mean(sample):.2f} | {late:.2f} |")
    print(f"\n{rounds} of each. Two-sided p that a pair is alike: below 0.01 the time tells something.\n")
    for first, second in ((names[0], names[1]), (names[0], names[2]), (names[1], names[2])):
        a, b = times[first], times[second]
        print(f"- {first} / {second}: means {welch(a, b):.3f}, ranks {ranks(a, b):.3f}")


main()
