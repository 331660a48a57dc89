"""The wall clock jumps: no session becomes immortal, none that was over comes back, nothing panics (S19). With libfaketime."""

import datetime
import glob
import os
import time
import unittest

import harness
from rig import FaultTest

HOUR, DAY = 3600, 86_400
YEAR = 365 * DAY
# The defaults of the gateway.
IDLE, DURATION = 2 * HOUR, 24 * HOUR


class Clock(FaultTest):
    def setUp(self):
        super().setUp()
        found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib/faketime/libfaketimeMT.so.1")
        self.assertTrue(found, "libfaketime is needed: ./scripts/faults installs it")
        self.hands = self.folder.path / "clock"
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self.hands),
            "FAKETIME_NO_CACHE": "1",
            # The monotonic clock of a real machine does not jump.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds):
        """Sets the gateway's wall clock to the real one plus `seconds`."""
        fresh = self.hands.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        os.replace(fresh, self.hands)

    def run_at(self, seconds):
        self.jump(seconds)
        self.gateway.start(env=self.environment)

    def log_in_cookie(self):
        status, cookie, _ = self.gateway.log_in()
        self.assertEqual(status, 303)
        return cookie

    def assert_status(self, cookie, wanted, words):
        self.assertEqual(self.gateway.status(cookie), wanted, words)

    def tearDown(self):
        if self.gateway.process is not None:
            self.assertIsNone(self.gateway.process.child.poll(), self.gateway.said()[-2000:])
            self.assertEqual(self.gateway.readiness(), 200)
        self.no_panic()

    def test_the_gateway_sees_the_jumps(self):
        self.run_at(10 * YEAR)
        self.log_in_cookie()
        year = datetime.datetime.fromtimestamp(time.time() + 10 * YEAR, datetime.UTC).year
        self.assertIn(f"{year}-", self.gateway.said(), "the log's own time")

    def test_an_hour_forward_and_back_ends_nobody_and_gives_nobody_time(self):
        self.run_at(0)
        alice = self.log_in_cookie()
        for jump in (HOUR, 0, -HOUR, 0, HOUR):
            self.jump(jump)
            self.assert_status(alice, 200, f"at {jump:+d} s")
        self.jump(HOUR + IDLE + 60)
        self.assert_status(alice, 401, "idle for longer than the limit")
        self.jump(0)
        self.assert_status(alice, 401, "over stays over when the clock goes back")

    # Known gap: expiry is written by the sweep, once a minute. When this passes, the mark must go (the runner says so).
    def test_what_was_refused_as_over_stays_over_after_a_kill_and_a_restart_with_an_earlier_clock(self):
        self.run_at(0)
        alice = self.log_in_cookie()
        self.jump(HOUR + IDLE)
        self.assert_status(alice, 401, "idle for longer than the limit")
        time.sleep(2)
        self.gateway.kill()
        self.run_at(-HOUR)
        self.assert_status(alice, 401, "after a restart with an earlier clock")

    def test_a_session_of_the_future_does_not_live_for_ever_when_the_clock_comes_back(self):
        self.run_at(10 * YEAR)
        early = self.log_in_cookie()
        self.jump(0)
        self.assert_status(early, 200, "time did not pass")
        self.gateway.kill()
        # Ten years before its login: the clock of the new process begins at what the store knows.
        self.run_at(0)
        self.assert_status(early, 200, "a restart with an earlier clock")
        fresh = self.log_in_cookie()
        self.jump(10 * YEAR + IDLE + HOUR)
        self.assert_status(early, 401, "past its limit")
        self.assert_status(fresh, 401, "past its limit")

    def test_a_restart_ten_years_back_revives_nothing_that_was_over(self):
        self.run_at(0)
        over = self.log_in_cookie()
        self.jump(DURATION + HOUR)
        self.assert_status(over, 401, "past both limits")
        later = self.log_in_cookie()
        self.gateway.kill()
        for jump in (0, -10 * YEAR):
            self.run_at(jump)
            self.assert_status(over, 401, f"restarted at {jump:+d} s")
            self.assert_status(later, 200, f"restarted at {jump:+d} s")
            self.assertEqual(self.gateway.stop(), 0)
        self.run_at(0)

    def test_ten_years_forward_ends_everybody_and_new_logins_work(self):
        self.run_at(0)
        old = self.log_in_cookie()
        self.jump(10 * YEAR)
        self.assert_status(old, 401, "ten years later")
        fresh = self.log_in_cookie()
        self.assert_status(fresh, 200, "a login of that day")
        self.jump(0)
        self.assert_status(old, 401, "and not back with the clock")
        self.assert_status(fresh, 200, "no time passed for it")

    def test_a_start_ten_years_back_then_the_true_time_ends_what_began_there(self):
        self.run_at(-10 * YEAR)
        past = self.log_in_cookie()
        self.assert_status(past, 200, "in the past")
        self.jump(0)
        self.assert_status(past, 401, "ten years later")
        self.assert_status(self.log_in_cookie(), 200, "now")

    def test_the_end_of_32_bit_seconds_is_a_moment_like_any_other(self):
        end = 2**31 - int(time.time())
        self.run_at(end - 60)
        before = self.log_in_cookie()
        self.jump(end + 60)
        self.assert_status(before, 200, "two minutes later, on the other side")
        after = self.log_in_cookie()
        self.gateway.kill()
        self.run_at(end + 120)
        for cookie in (before, after):
            self.assert_status(cookie, 200, "after a restart there")
        self.jump(end + DURATION + HOUR)
        for cookie in (before, after):
            self.assert_status(cookie, 401, "past its limits")

    def test_the_rim_of_time_does_not_panic(self):
        self.run_at(0)
        self.log_in_cookie()
        for jump in (200 * YEAR, -50 * YEAR, 0):
            self.jump(jump)
            harness.wait_until(lambda: self.gateway.ask_management("/healthz")[0] == 200, f"health at {jump:+d} s")
            self.log_in_cookie()
