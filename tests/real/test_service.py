"""The process and its files: the unit of systemd holds what it promises, whatever the gateway writes is for its own user alone, folders
and files that others can change are refused, and running as root is said."""

import os
import re
import subprocess
import unittest

from harness import BINARY, ROOT, Folder, Gateway, free_port
from wire import RawUpstream

UNIT = ROOT / "packaging/systemd/fluidgate.service"
# By `systemd-analyze security`, in tenths: 0 is a service that can do nothing, 10 one that can do everything.
MOST_EXPOSED = 20


def answer(wire):
    while True:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Service(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        port = free_port()
        upstream = RawUpstream(answer, port)
        self.addCleanup(upstream.stop)
        self.route = f'[[routes]]\nupstream = ["http://127.0.0.1:{port}"]\n'

    def gateway(self, **options):
        gateway = Gateway(self.folder.path, self.route, **options)
        self.addCleanup(gateway.stop)
        return gateway

    def run_once(self, gateway):
        """Runs it to its end, which is expected to come by itself."""
        return subprocess.run([BINARY, "run", "-c", gateway.config], capture_output=True, text=True, timeout=20)

    def test_the_unit_is_valid_and_leaves_the_service_little(self):
        # The program need not be installed where the unit looks for it.
        unit = self.folder.path / "fluidgate.service"
        unit.write_text(UNIT.read_text().replace("/usr/local/bin/fluidgate", BINARY))
        verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))
        judged = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        self.assertEqual(judged.returncode, 0, judged.stdout[-2000:])
        self.assertIn("User=fluidgate\n", UNIT.read_text())
        self.assertIn("RestartPreventExitStatus=78\n", UNIT.read_text())

    def test_every_file_that_it_writes_is_for_its_own_user_alone(self):
        gateway = self.gateway()
        text = gateway.config.read_text()
        gateway.config.write_text(
            text.replace("[[routes]]", '[access_log]\ntarget = "state/access.log"\n[audit_log]\ntarget = "state/audit.log"\n[[routes]]', 1)
        )
        # The loosest of masks: what counts are the modes that the gateway asks for.
        before = os.umask(0)
        try:
            gateway.start()
        finally:
            os.umask(before)
        client = gateway.client("alice")
        self.assertEqual(client.request("GET", "/")[0].status, 200)
        subprocess.run([BINARY, "sessions", "list", "-c", gateway.config], check=True, capture_output=True, timeout=20)
        loose = []

        def look():
            for path in [gateway.folder / "state", *(gateway.folder / "state").rglob("*")]:
                mode = path.stat().st_mode & 0o777
                if mode & 0o077:
                    loose.append(f"{path.name} {mode:03o}")
                seen.add(path.name)

        seen = set()
        look()
        self.assertEqual(gateway.stop(), 0)
        look()
        self.assertEqual(loose, [])
        self.assertLessEqual({"sessions", "admin.sock", "access.log", "audit.log", "sessions.lock", "sessions.marker", "db"}, seen)

    def test_a_state_folder_that_everyone_may_write_to_is_refused(self):
        gateway = self.gateway(store="shared/sessions")
        shared = gateway.folder / "shared"
        shared.mkdir()
        shared.chmod(0o777)
        ended = self.run_once(gateway)
        self.assertIn(ended.returncode, (1, 78))
        self.assertRegex(ended.stderr, "anyone may change")
        (shared / "sessions").mkdir(exist_ok=True)
        (shared / "sessions").chmod(0o777)
        shared.chmod(0o755)
        ended = self.run_once(gateway)
        self.assertEqual(ended.returncode, 78)
        self.assertIn("chmod 700", ended.stderr)

    def test_loose_modes_of_secret_and_user_file_are_refused_or_said(self):
        gateway = self.gateway()
        secret, users = gateway.folder / "secret.key", gateway.folder / "users.toml"
        for path, mode, told in ((secret, 0o640, "others may use the secret file"), (users, 0o666, "others may change the user file")):
            path.chmod(mode)
            ended = self.run_once(gateway)
            self.assertEqual(ended.returncode, 78, ended.stderr)
            self.assertIn(told, ended.stderr)
            path.chmod(0o600)
        users.chmod(0o644)
        gateway.start()
        gateway.stop()
        self.assertIn("lets others at the hashes", (gateway.folder / "gateway.log").read_text())

    def test_root_is_told_that_it_is_not_needed_and_another_user_is_not(self):
        said = "running as root"
        gateway = self.gateway()
        if os.geteuid() != 0:
            gateway.start()
            gateway.stop()
            self.assertNotIn(said, (gateway.folder / "gateway.log").read_text())
            return
        gateway.start()
        gateway.stop()
        log = gateway.folder / "gateway.log"
        self.assertEqual(len(re.findall(said, log.read_text())), 1)
        log.unlink()
        # As nobody, to whom the folder is given.
        for path in [gateway.folder, *gateway.folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        gateway.start(wrap=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        self.assertEqual(gateway.stop(), 0)
        self.assertNotIn(said, log.read_text())


if __name__ == "__main__":
    unittest.main()
