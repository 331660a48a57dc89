"""kill -9 right after an answer, and SIGTERM under load: nothing acknowledged is lost, nothing ended comes back (S7, X25)."""

import contextlib
import http.client
import re
import threading
import unittest

from rig import FULL, App, FaultTest, Ledger, pause, rounds


class Kill(FaultTest):
    def test_kill_9_loses_no_acknowledged_login_and_revives_no_logout(self):
        ledger, choose = Ledger(), self.choose
        for number in range(rounds(30, 300)):
            self.gateway.start()
            live = int(re.findall(r"live=(\d+)", self.gateway.said())[-1])
            acknowledged, ending = len(ledger.of("in")), len(ledger.of("ending"))
            self.assertGreaterEqual(live, acknowledged, f"round {number}")
            self.assertLessEqual(live, acknowledged + ending + ledger.unanswered, f"round {number}: more than anybody asked for")
            self.hold(ledger, f"round {number}", sample=60, choose=choose)
            rest = threading.Thread(target=self.others, args=(ledger,))
            rest.start()
            for _ in range(choose.randint(1, 6)):
                candidates = ledger.of("in")
                if candidates and choose.random() < 0.5:
                    status = ledger.log_out(self.gateway, choose.choice(candidates[-20:]))
                else:
                    status, _ = ledger.log_in(self.gateway)
                self.assertEqual(status, 303)
            pause(choose, 0.03)
            self.gateway.kill()
            rest.join()
        self.gateway.start()
        self.hold(ledger, "at the end")
        self.assertGreater(len(ledger.of("out")), 0)
        self.no_panic()

    def others(self, ledger):
        """Somebody else's logins and logouts, in flight when the process dies."""
        gateway = self.gateway
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                first = ledger.log_in(gateway)[1]
                ledger.log_in(gateway)
                if first:
                    ledger.log_out(gateway, first)


class Term(FaultTest):
    def test_sigterm_under_load_loses_nothing_acknowledged_and_exits_0(self):
        for number in range(rounds(3, 15)):
            ledger, cut = Ledger(), []
            self.gateway.start()
            _, cookie = ledger.log_in(self.gateway)
            threads = [threading.Thread(target=self.change, args=(ledger,)) for _ in range(3)]
            threads += [threading.Thread(target=self.read, args=(cookie, cut)) for _ in range(4)]
            for thread in threads:
                thread.start()
            threading.Event().wait(0.3 + self.choose.random() / 3)  # the load runs; the signal comes at some moment
            self.assertEqual(self.gateway.stop(), 0, self.gateway.said()[-2000:])
            for thread in threads:
                thread.join()
            self.assertEqual(cut, [], "an answer that had begun was cut")
            self.gateway.start()
            self.hold(ledger, f"round {number}")
            # Whoever got no answer does not know: their own requests may have been made.
            self.assertGreater(len(ledger.of("out")), 0)
            self.assertEqual(self.gateway.stop(), 0)
        self.no_panic()

    def change(self, ledger):
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                _, cookie = ledger.log_in(self.gateway)
                if cookie and len(ledger.state) % 2:
                    ledger.log_out(self.gateway, cookie)

    def read(self, cookie, cut):
        """Proxied requests on one connection; an answer either comes whole or does not begin."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.BadStatusLine):
            while True:
                connection.request("GET", "/", headers={"Cookie": cookie})
                answer = connection.getresponse()
                try:
                    body = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    cut.append(repr(error))
                    return
                if (answer.status, len(body)) != (200, len(App.BODY)):
                    cut.append(f"{answer.status}, {len(body)} bytes")
                    return


if __name__ == "__main__":
    print("full" if FULL else "bounded")
    unittest.main()
