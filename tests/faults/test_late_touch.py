"""Requests that wait for their app while their session is logged out: none of their touches brings it back (S5).

Each request comes more than a touch period after the last one, so its activity goes to the store; the app holds its answer until the
logout has been answered. Afterwards the session is over in memory, and, after a kill, in the store.
"""

import concurrent.futures
import contextlib
import http.client
import json
import threading
import time

import harness
from rig import App, FaultTest, Gateway, pause, request, rounds

# Of an idle limit of a minute: activity is written at most this often.
TOUCH_PERIOD = 6
IDLE = '"1m"'
AT_ONCE = 8


class Holding(App):
    """An app that says when a request has come, and answers it when it may."""

    races = {}

    def do_GET(self):  # noqa: N802
        race = self.races.get(self.path)
        if race:
            race.arrived.set()
            race.may_answer.wait(30)
        with contextlib.suppress(OSError):
            super().do_GET()


class Race:
    def __init__(self, cookie):
        self.cookie, self.arrived, self.may_answer = cookie, threading.Event(), threading.Event()


class LateTouch(FaultTest):
    app_class = Holding

    def gateway_in(self, folder):
        gateway = Gateway(folder, self.app, self.store, session=f'max_bad_cookies = 0\nidle_timeout = {IDLE}')
        text = gateway.config.read_text()
        gateway.config.write_text(text + '\n[audit_log]\ntarget = "audit.log"\n')
        self.addCleanup(gateway.stop)
        return gateway

    def test_a_request_that_touches_and_waits_never_brings_back_a_session_that_was_logged_out(self):
        self.gateway.start()
        over, kept = [], []
        for _ in range(rounds(1, 5)):
            cookies = [self.gateway.log_in()[1] for _ in range(rounds(48, 200))]
            last = time.monotonic()
            harness.wait_until(lambda: time.monotonic() - last > TOUCH_PERIOD + 1, "the next request is a touch")  # noqa: B023
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                for answer in [pool.submit(self.race, number, cookie) for number, cookie in enumerate(cookies)]:
                    answer.result()
            over += cookies
            # These live on, and show that such requests are written at all.
            kept = [self.gateway.log_in()[1] for _ in range(10)]
        self.assertEqual([cookie for cookie in over if self.gateway.status(cookie) != 401], [], "in memory")
        last = time.monotonic()
        harness.wait_until(lambda: time.monotonic() - last > TOUCH_PERIOD + 1, "the next request is a touch")
        for cookie in kept:
            self.assertEqual(request(self.gateway.port, "GET", "/", None, {"Cookie": cookie})[0], 200)
        harness.wait_until(lambda: self.touches() >= len(kept), "the touches of those that live are written")
        self.gateway.kill()
        self.gateway.forget_log()
        self.gateway.start()
        self.assertEqual([cookie for cookie in over if self.gateway.status(cookie) != 401], [], "in the store")
        self.assertEqual([cookie for cookie in kept if self.gateway.status(cookie) != 200], [], "these were not logged out")
        self.no_panic()

    def race(self, number, cookie):
        """A held request and a logout, in one of four orders."""
        race, path = Race(cookie), f"/held/{cookie[-12:]}"
        Holding.races[path] = race
        slow = threading.Thread(target=self.ask, args=(path, cookie))
        if number % 4 == 0:
            slow.start()
            race.arrived.wait(10)
        elif number % 4 == 1:
            slow.start()
            pause(self.choose, 0.002)
        status = self.log_out_beside(slow, cookie) if number % 4 > 1 else self.gateway.log_out(cookie)
        self.assertEqual(status, 303)
        race.may_answer.set()
        slow.join()
        self.assertEqual(self.gateway.status(cookie), 401, f"race {number}")
        self.assertEqual(request(self.gateway.port, "GET", path, None, {"Cookie": cookie})[0], 401, f"race {number}")
        del Holding.races[path]

    def log_out_beside(self, slow, cookie):
        """The logout is on its way when the request comes."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.gateway.log_out, cookie)
            pause(self.choose, 0.002)
            slow.start()
            return answer.result()

    def ask(self, path, cookie):
        # It is answered with 401, or broken off: both are fine.
        with contextlib.suppress(OSError, http.client.HTTPException):
            request(self.gateway.port, "GET", path, None, {"Cookie": cookie})

    def touches(self):
        lines = (self.gateway.folder / "audit.log").read_text().splitlines()
        return sum(json.loads(line)["event"] == "session_extended" for line in lines)
