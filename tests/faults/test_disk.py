"""A disk that is full, read-only or broken: live sessions go on, logins are refused for now, a logout counts at once (S11)."""

import contextlib
import pathlib
import re
import subprocess
import time
import unittest

import harness
from rig import FaultTest, Ledger, need

RECOVERY = 15


class Disk(FaultTest):
    """The store lies on a small tmpfs of its own."""

    store = "disk/state/sessions"

    def setUp(self):
        super().setUp()
        self.disk = self.folder.path / "disk"
        self.disk.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", self.disk], capture_output=True, text=True)
        # A file-size limit would be a weaker stand-in: it hits one file and never comes back. So this says what it needs.
        self.assertEqual(done.returncode, 0, f"a tmpfs must be mounted, which needs root: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)
        self.addCleanup(self.gateway.stop)
        (self.disk / "state").mkdir(mode=0o700)

    def fill(self):
        with contextlib.suppress(OSError), (self.disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def test_a_full_disk_refuses_logins_keeps_sessions_and_heals_when_there_is_room(self):
        ledger = Ledger()
        self.gateway.start()
        cookies = [ledger.log_in(self.gateway)[1] for _ in range(6)]
        self.fill()
        status = 303
        for _ in range(3000):
            status, _, headers = self.gateway.log_in()
            if status != 303:
                break
        self.assertEqual(status, 503, "a login on a full disk")
        self.assertTrue(headers.get("Retry-After", "").isdigit(), "Retry-After")
        self.assertEqual(self.gateway.readiness(), 503)
        self.assertEqual([self.gateway.status(cookie, "/") for cookie in cookies], [200] * 6, "live sessions go on")
        for cookie in cookies[:2]:
            self.assertEqual(ledger.log_out(self.gateway, cookie), 303)
            self.assertEqual(self.gateway.status(cookie), 401, "a logout counts at once")
        (self.disk / "ballast").unlink()
        self.recovers(ledger)

    def recovers(self, ledger):
        """Ready again without a restart, or ended by itself with a code other than 0; then the ledger holds over a restart."""
        child = self.gateway.process.child
        deadline = time.monotonic() + RECOVERY
        while child.poll() is None and self.gateway.readiness() != 200:
            self.assertLess(time.monotonic(), deadline, f"not ready {RECOVERY} s after the fault\n{self.gateway.said()[-2000:]}")
            time.sleep(0.05)  # between two questions
        if child.poll() is not None:
            self.assertGreater(child.returncode, 0, self.gateway.said()[-2000:])
            self.gateway.start()
        self.hold(ledger, "after recovery")
        self.assertEqual(ledger.log_in(self.gateway)[0], 303)
        self.gateway.kill()
        self.gateway.start()
        self.hold(ledger, "after a restart")
        self.no_panic()

    def test_a_read_only_folder_is_a_clear_refusal(self):
        ledger = Ledger()
        self.gateway.start()
        ledger.log_in(self.gateway)
        self.assertEqual(self.gateway.stop(), 0)
        subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        self.gateway.forget_log()
        self.assertGreater(self.gateway.try_to_start(), 0)
        lines = [line for line in self.gateway.said().splitlines() if line.startswith("fluidgate: ")]
        self.assertEqual(len(lines), 1, self.gateway.said())
        self.assertIn("Read-only file system", lines[0])
        self.no_panic()
        subprocess.run(["mount", "-o", "remount,rw", self.disk], check=True)
        self.gateway.start()
        self.hold(ledger, "writable again")


class Errors(FaultTest):
    """System calls that fail while the gateway runs, by strace."""

    @contextlib.contextmanager
    def failing(self, call):
        """Every `call` of the gateway fails with EIO inside the block."""
        need(self, "strace")
        pid = self.gateway.process.child.pid
        # The path filter of strace would miss descriptors opened before; sled's and the marker's are the only ones that sync.
        argv = ["strace", "-f", "-q", "-p", str(pid), "-e", f"trace={call}", "-e", f"inject={call}:error=EIO", "-o", "/dev/null"]
        tracer = harness.Process(argv, self.folder.path / "strace.log")
        threads = pathlib.Path(f"/proc/{pid}/task")
        traced = lambda: all(re.search(r"^TracerPid:\s+[1-9]", (t / "status").read_text(), re.M) for t in threads.iterdir())  # noqa: E731
        harness.wait_until(traced, "strace", process=tracer.child, log=tracer.log)
        try:
            yield
        finally:
            # Only an interrupt makes it let go of every thread first.
            tracer.stop()

    def under(self, call):
        ledger = Ledger()
        self.gateway.start()
        cookies = [ledger.log_in(self.gateway)[1] for _ in range(6)]
        with self.failing(call):
            status, cookie, headers = self.gateway.log_in()
            self.assertEqual((status, cookie), (503, None), f"a login while {call} fails")
            self.assertTrue(headers.get("Retry-After", "").isdigit(), "Retry-After")
            self.assertEqual(self.gateway.readiness(), 503)
            self.assertEqual([self.gateway.status(cookie, "/") for cookie in cookies], [200] * 6, "live sessions go on")
            for cookie in cookies[:2]:
                self.assertEqual(ledger.log_out(self.gateway, cookie), 303)
                self.assertEqual(self.gateway.status(cookie), 401, "a logout counts at once")
            # Again, after it has tried to open the store anew.
            time.sleep(0.6)
            self.assertEqual(self.gateway.log_in()[0], 503)
            self.assertEqual(self.gateway.status(cookies[5], "/"), 200)
        Disk.recovers(self, ledger)

    def test_eio_on_fdatasync_refuses_logins_keeps_sessions_and_heals(self):
        self.under("fdatasync")

    def test_eio_on_pwrite_refuses_logins_keeps_sessions_and_heals(self):
        self.under("pwrite64")

    def test_a_logout_under_eio_stays_one_although_the_process_is_killed_before_it_could_be_written(self):
        """Not promised: the answer came while the store was failing. What is seen is printed, so that the page can say it."""
        ledger = Ledger()
        self.gateway.start()
        cookie = ledger.log_in(self.gateway)[1]
        with self.failing("fdatasync"):
            self.assertEqual(ledger.log_out(self.gateway, cookie), 303)
            self.assertEqual(self.gateway.status(cookie), 401)
            self.gateway.kill()
        self.gateway.start()
        print(f"after a kill while the store failed, that logout reads {self.gateway.status(cookie)}", end=" ")
        self.no_panic()


class SecondInstance(FaultTest):
    def test_a_second_gateway_on_the_same_store_ends_within_2_seconds_and_the_first_goes_on(self):
        ledger = Ledger()
        self.gateway.start()
        cookie = ledger.log_in(self.gateway)[1]
        second = self.gateway_in(self.folder.path / "second")
        text = second.config.read_text().replace('path = "state/sessions"', f'path = "{self.gateway.store}"')
        second.config.write_text(text)
        began = time.monotonic()
        code = second.try_to_start()
        took = time.monotonic() - began
        self.assertIsNot(code, True, "two gateways on one store")
        self.assertGreater(code, 0)
        self.assertLess(took, 2)
        lines = [line for line in second.said().splitlines() if line.startswith("fluidgate: ")]
        self.assertEqual(len(lines), 1, second.said())
        self.assertIn("in use by another process", lines[0])
        self.assertEqual(self.gateway.status(cookie), 200)
        self.assertEqual(ledger.log_in(self.gateway)[0], 303)
        self.gateway.kill()
        self.gateway.start()
        self.hold(ledger, "the first one")


if __name__ == "__main__":
    unittest.main()
