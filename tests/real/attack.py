"""Every stall and every flood in full, one row each: what an honest client saw before, during and after, what it cost the gateway in
memory, and whether every connection ended. Runs in the Python of target/venv; scripts/attack starts it."""

import argparse
import fnmatch
import sys
import time
import unittest

from attackers import Siege
from flooders import send_flood
from floods import every_flood
from harness import Folder
from siege import Honest, Limits, Served, Site
from stalls import every_stall

# Seconds of rest before and after an attack, in which an honest client is watched.
REST = 5
# What a deadline may be late by: the machine is busy, and shared with the attackers.
MARGIN = 10
# Seconds between two looks at the attackers, which take the processor for milliseconds.
PERIOD = 1
ROW = "{:62} {:>6}  {:>12} {:>12} {:>12}  {:>6} {:>6} {:>6}  {:>16}  {}"


class Attack:
    """A gateway under attack, and the table of what came of it."""

    def __init__(self, test, arguments, limits):
        self.arguments, self.limits, self.bad = arguments, limits, 0
        folder = Folder()
        test.addCleanup(folder.remove)
        caps = "max_connections = 15000\nmax_connections_per_source = 10000\n"
        self.site = Site(test, folder.path, limits, server=caps, capacity=3 * arguments.connections + 4096)

    def measured(self, name, connections, attack):
        """Runs `attack`, which gives (all ended by, what is wrong), and prints its row."""
        site = self.site
        with Honest(site) as honest:
            start = time.monotonic()
            time.sleep(REST)
            site.gateway.forget_memory_peak()
            before, began = site.resident(), time.monotonic()
            ended_by, wrong = attack()
            ended = time.monotonic()
            peak = site.gateway.memory("VmHWM")
            time.sleep(REST)
            spans = [Served.of(honest.between(*span)) for span in ((start, began), (began, ended), (ended, time.monotonic()))]
        rest, during, after = spans
        if during.failed or after.failed:
            wrong.append(f"{during.failed + after.failed} honest requests failed")
        if not after.count:
            wrong.append("nobody was served afterwards")
        ratio = during.p99 / rest.p99
        verdict = "; ".join(wrong) or ("ok" if ratio < 2 else f"ok, p99 {ratio:.1f} times that at rest")
        self.bad += bool(wrong)
        memory = [f"{megabytes:.0f}" for megabytes in (before, peak, site.resident())]
        print(ROW.format(name, connections, *(f"{s.p50:.1f}/{s.p99:.1f}" for s in spans), *memory, ended_by, verdict), flush=True)

    def stall(self, name, stalls, count):
        def attack():
            longest = max(stall.span(self.limits)[1] for stall in stalls) + MARGIN
            with Siege(self.site, stalls, count, PERIOD) as siege:
                siege.go_on(longest)
                ends = siege.ends()
            wrong = []
            for stall, (first, last) in ends.items():
                after, before = stall.span(self.limits)
                if last is None or last > before + MARGIN or first < after:
                    wrong.append(f"{stall.title} ended between {first} and {last} s, not {after} and {before}")
            lasts = [last for _, last in ends.values()]
            return (f"{max(lasts):.1f} s" if None not in lasts else "HELD"), wrong

        self.measured(name, len(stalls) * count, attack)

    def flood(self, flood, way):
        def attack():
            before = self.site.resident()
            self.site.gateway.forget_memory_peak()
            outcomes = send_flood(self.site, flood, way, self.arguments.flooders, self.arguments.frames, 10)
            grown = self.site.gateway.memory("VmHWM") - before
            wrong = [f"{grown:.0f} MB more"] if grown > 20 else []
            if flood.ended and not all(outcome.ended for outcome in outcomes):
                wrong.append("was to be ended")
            kinds = {outcome.ended_by.split(",")[0] for outcome in outcomes}
            return sorted(kinds)[0][:16], wrong

        self.measured(f"flood: {flood.name} ({way})", self.arguments.flooders, attack)


def arguments():
    parser = argparse.ArgumentParser(description="Attacks a gateway in every known way and prints what came of each.")
    parser.add_argument("only", nargs="?", default="*", help="a pattern (fnmatch) of names of attacks")
    parser.add_argument("--connections", type=int, default=1000, help="of each kind of stall")
    parser.add_argument("--deadline", type=int, default=20, help="seconds, of every kind, where each stall is alone; where few, their coming and their end weigh more in the p99")
    parser.add_argument("--flooders", type=int, default=8, help="connections of each flood")
    parser.add_argument("--frames", type=int, default=200_000, help="of each of these")
    return parser.parse_args()


def main():
    asked = arguments()
    test = unittest.TestCase()
    wanted = lambda name: fnmatch.fnmatch(name, f"*{asked.only}*")  # noqa: E731
    bad = 0
    print(ROW.format("attack", "conns", "before", "during", "after", "MB", "peak", "5 s on", "all ended by", "verdict"))
    print(ROW.format("", "", "p50/p99 ms", "p50/p99 ms", "p50/p99 ms", "", "", "", "", ""), flush=True)
    try:
        attack = Attack(test, asked, Limits.all(asked.deadline))
        for stall in every_stall():
            if wanted(stall.title):
                attack.stall(stall.title, [stall], asked.connections)
        bad += attack.bad
        attack = Attack(test, asked, Limits())
        # Twice: what the allocator keeps after the first time must do for the second.
        for turn in ("all kinds, the product's own deadlines", "the same again"):
            if wanted(turn):
                stalls = every_stall()
                attack.stall(turn, stalls, max(1, 2 * asked.connections // len(stalls)))
        for way in ("h2c", "h2"):
            for flood in every_flood():
                if wanted(f"flood: {flood.name} ({way})"):
                    attack.flood(flood, way)
        bad += attack.bad
    finally:
        test.doCleanups()
    print(f"attack: {bad} attacks went beyond what is promised" if bad else "attack: all kept")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
