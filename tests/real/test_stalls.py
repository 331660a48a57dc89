"""Connections that do nothing all end by themselves, each by its documented deadline, while an honest client is served: every kind
of stall at once, with short deadlines. scripts/attack does the same with thousands of connections and the product's own."""

import time
import unittest

from attackers import Siege
from harness import Folder
from siege import Honest, Limits, Served, Site
from stalls import every_stall

LIMITS = Limits.all(2)
OF_EACH = 3
# What a busy machine may add to a deadline.
MARGIN = 5


class Stalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.site = Site(cls, cls.folder.path, LIMITS, capacity=2048)

    def test_every_stalled_connection_ends_by_its_deadline_and_others_are_served_meanwhile(self):
        stalls = every_stall()
        longest = max(stall.span(LIMITS)[1] for stall in stalls) + MARGIN
        with Honest(self.site) as honest:
            resident = self.site.resident()
            self.site.gateway.forget_memory_peak()
            began = time.monotonic()
            with Siege(self.site, stalls, OF_EACH) as siege:
                siege.go_on(longest)
                ended, peak = time.monotonic(), self.site.gateway.memory("VmHWM")
                wrong = {}
                for stall, (first, last) in siege.ends().items():
                    after, before = stall.span(LIMITS)
                    if last is None or last > before + MARGIN or first < after:
                        wrong[stall.title] = f"ended between {first} and {last} s, not {after} and {before}"
            served = Served.of(honest.between(began, ended))
        print(
            f"\n  {len(stalls)} kinds of stall, {len(stalls) * OF_EACH} connections: honest p50/p99 {served} ms, "
            f"resident {resident:.0f} MB before, {peak:.0f} at most",
            flush=True,
        )
        self.assertEqual(wrong, {})
        self.assertEqual(served.failed, 0, f"{served.failed} of {served.count} honest requests failed")
        self.assertGreater(served.count, 10 * (ended - began), "the honest client did not get on")
