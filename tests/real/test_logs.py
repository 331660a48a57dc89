"""An access log whose reader has stopped: requests go on, and what is lost is counted and said."""

import http.client
import os
import re
import threading
import unittest

from harness import Folder, Gateway, wait_until

# Long lines fill what may wait sooner: 80 of them are a hand-over, of which 32 may wait, behind a pipe of 64 KiB.
LONG = {"User-Agent": "x" * 1000}


class StoppedReader(unittest.TestCase):
    def setUp(self):
        folder = Folder()
        self.addCleanup(folder.remove)
        self.pipe = folder.path / "log.pipe"
        os.mkfifo(self.pipe, 0o600)
        # Open for writing, too, so that it does not wait for the gateway.
        self.stopped = self.pipe.open("r+b", buffering=0)
        self.addCleanup(self.stopped.close)
        text = '[access_log]\ntarget = "log.pipe"\n[[routes]]\naccess = "public"\nrespond = { status = 200, body = "here" }\n'
        self.gateway = Gateway(folder.path, text)
        self.addCleanup(self.gateway.stop)
        self.gateway.start()

    def lost(self):
        _, text = self.gateway.ask_management("/metrics")
        return int(re.search(rb'^fluidgate_log_lines_lost_total\{log="access"\} (\d+)$', text, re.M)[1])

    def visit(self, times):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=20)
        for _ in range(times):
            connection.request("GET", "/", headers=LONG)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, b"here"))
        connection.close()

    def test_requests_go_on_and_the_metric_and_a_warning_tell_what_is_lost(self):
        asked = 0
        while not self.lost():
            self.assertLess(asked, 100_000, "nothing is lost")
            self.visit(1000)
            asked += 1000
        said = self.gateway.process.log
        warning = re.compile(r"lines of a log may be lost.*access")
        wait_until(lambda: warning.search(said.read_text()), "a warning", 30, self.gateway.process.child, said)
        # More of them, soon after: the end says how many.
        before = self.lost()
        self.visit(1000)
        asked += 1000
        self.assertGreater(self.lost(), before)
        # Whoever reads again gets the rest, each line whole, or counted.
        lines = []

        def read():
            with self.pipe.open("rb") as pipe:
                for line in pipe:
                    lines.append(line)

        reader = threading.Thread(target=read)
        reader.start()
        self.visit(1)
        wait_until(lambda: len(lines) + self.lost() >= asked + 1, "all lines")
        lost = self.lost()
        self.assertEqual(self.gateway.stop(), 0)
        self.stopped.close()
        reader.join(20)
        self.assertEqual(len(lines) + lost, asked + 1)
        told = re.findall(r"lines of a log may be lost.*lines=(\d+)", said.read_text())
        self.assertEqual(sum(map(int, told)), lost)
        self.assertTrue(all(line.startswith(b"{") and line.endswith(b"}\n") for line in lines))
