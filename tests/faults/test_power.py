"""The power goes right when an answer is sent: what was acknowledged is there, what had ended stays ended (S7)."""

import contextlib
import http.client
import re
import shutil
import threading

import power
from rig import FaultTest, Ledger, chooser, need, rounds

COOKIE = re.compile(rb"(?im)^(?:set-)?cookie: (fluidgate=[^;\r]+)")


class PowerLoss(FaultTest):
    def test_a_power_cut_at_any_answer_loses_no_login_and_revives_no_logout(self):
        need(self, "strace")
        points = []
        # The first run makes the store, the second finds it.
        for run in ("new store", "old store"):
            points += self.traced(run)
        logins = sum(point[1].count("in") for point in points[-1:])
        self.assertGreater(logins, 0)
        print(f"{len(points)} cuts", end=" ", flush=True)
        for words, _, folder, ledger in points:
            with self.subTest(words):
                try:
                    self.start_after(words, folder, ledger)
                finally:
                    self.gateway.kill()

    def start_after(self, words, folder, ledger):
        shutil.rmtree(self.gateway.store.parent)
        shutil.copytree(folder, self.gateway.store.parent)
        self.gateway.store.parent.chmod(0o700)
        self.gateway.forget_log()
        self.assertIs(self.gateway.try_to_start(), True, self.gateway.said()[-2000:])
        self.hold(ledger, words)
        self.assertNotIn("not trusted", self.gateway.said())
        self.no_panic()

    def traced(self, run):
        """Logins and logouts from three clients under strace; gives the folders that cuts would leave, with their ledgers."""
        trace = self.folder.path / f"{run}.trace"
        disk = power.Disk(self.gateway.store.parent)
        self.gateway.start(wrap=power.tracer(trace))
        clients = [threading.Thread(target=self.client, args=(rounds(4, 20),)) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(self.gateway.stop(), 0)
        return list(self.cuts(disk, trace, run))

    def client(self, times):
        with contextlib.suppress(OSError, http.client.HTTPException):
            for _ in range(times):
                _, first, _ = self.gateway.log_in()
                self.gateway.log_in()
                self.gateway.log_out(first)

    def cuts(self, disk, trace, run):
        ledger, began, asked = {**getattr(self, "before", {})}, {}, {}
        choose = chooser(f"{self.id()} {run}")
        number = 0
        for kind, call, name, arguments, result in power.events(trace):
            if kind == "enter":
                began[call] = disk.moment + 1
            else:
                disk.call(name, arguments, result, began.pop(call))
            peer = re.match(r"(\d+)<", arguments)
            if name == "recvfrom" and kind == "exit" and peer:
                said = b"".join(power.unhex(text) for text in re.findall(r'"((?:\\x[0-9a-f]{2})+)"', arguments))
                cookie = COOKIE.search(said)
                if said.startswith(b"POST"):
                    asked[peer[1]] = cookie[1] if said.startswith(b"POST /_auth/logout") else None
                    if asked[peer[1]]:
                        ledger[asked[peer[1]].decode()] = "ending"
            elif name in ("sendto", "write", "writev", "sendmsg") and kind == "enter" and peer:
                said = b"".join(power.unhex(text) for text in re.findall(r'"((?:\\x[0-9a-f]{2})+)"', arguments))
                if not said.startswith(b"HTTP/1.1 303") or peer[1] not in asked:
                    continue
                ended = asked.pop(peer[1])
                ledger[(ended or COOKIE.search(said)[1]).decode()] = "out" if ended else "in"
                number += 1
                forms = [None, *range(3)] if rounds(0, 1) else [None] if number % 2 else [0]
                for form in forms:
                    folder = self.folder.path / f"cut {run} {number} {form}"
                    disk.cut(folder, None if form is None else choose)
                    copy = Ledger()
                    copy.state = dict(ledger)
                    words = f"{run}, answer {number}, {'nothing' if form is None else 'a random part'} of the rest kept"
                    yield words, list(ledger.values()), folder, copy
        self.before = ledger
        self.assertEqual(disk.unknown, set(), "writes that the model does not know")
        self.assertGreater(number, 0, "no answer was seen in the trace")
