"""Start, health, restart and end of the real program."""

import contextlib
import fcntl
import http.server
import json
import os
import signal
import subprocess
import threading
import unittest

from harness import BINARY, Folder, Gateway, free_port, wait_until

PIECE = b"x" * 65536
PIECES = 64


class App(http.server.BaseHTTPRequestHandler):
    """An upstream whose `/slow` sends half of its body and the rest when the test says so."""

    protocol_version = "HTTP/1.1"
    half_sent = threading.Event()
    go_on = threading.Event()

    def do_GET(self):  # noqa: N802
        if self.path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", str(len(PIECE) * PIECES))
            self.end_headers()
            for number in range(PIECES):
                if number == PIECES // 2:
                    App.half_sent.set()
                    App.go_on.wait(30)
                self.wfile.write(PIECE)
            return
        body = json.dumps({"path": self.path, "user": self.headers.get("Remote-User")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Lifecycle(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        App.half_sent.clear()
        App.go_on.clear()
        self.app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
        self.app.daemon_threads = True
        threading.Thread(target=self.app.serve_forever, daemon=True).start()
        self.addCleanup(self.app.server_close)
        self.addCleanup(self.app.shutdown)
        self.addCleanup(App.go_on.set)
        upstream = f'upstream = ["http://127.0.0.1:{self.app.server_port}"]'
        self.gateway = Gateway(
            self.folder.path,
            f'[[routes]]\npath = "/"\n{upstream}\n\n[[routes]]\npath = "/healthz"\n{upstream}\naccess = "public"\n',
        )
        self.addCleanup(self.gateway.stop)

    def test_sigterm_finishes_a_slow_download_and_exits_0(self):
        alice = self.gateway.start().client("alice")
        connection, answer = alice.open("GET", "/slow")
        with contextlib.closing(connection):
            self.assertTrue(App.half_sent.wait(20))
            child = self.gateway.process.child
            child.send_signal(signal.SIGTERM)
            # The drain has begun when no new connection is taken; only then may the rest of the body come.
            wait_until(self.refuses_new_connections, "the drain")
            self.assertIsNone(child.poll(), "it ended while a download was in flight")
            App.go_on.set()
            self.assertEqual(answer.read(), PIECE * PIECES)
        self.assertEqual(child.wait(20), 0)

    def refuses_new_connections(self):
        """Whether the public listener is closed."""
        try:
            self.gateway.client().request("GET", "/_auth/whoami", timeout=2)
        except OSError:
            return True
        return False

    def test_a_session_survives_a_restart(self):
        alice = self.gateway.start().client("alice")
        self.assertEqual(json.loads(alice.request("GET", "/")[1])["user"], "alice")
        self.assertEqual(self.gateway.stop(), 0)
        self.gateway.start()
        answer, body = alice.request("GET", "/")
        self.assertEqual((answer.status, json.loads(body)["user"]), (200, "alice"))

    def test_a_session_that_was_logged_out_stays_ended_after_a_restart(self):
        alice = self.gateway.start().client("alice")
        form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        answer, _ = alice.request("POST", "/_auth/logout", "", form)
        self.assertEqual(answer.status, 303)
        for _ in range(2):
            self.assertEqual(alice.request("GET", "/_auth/whoami")[0].status, 401)
            self.gateway.stop()
            self.gateway.start()

    def test_health_is_on_the_management_listener(self):
        self.gateway.start()
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.gateway.ask_management(path)[0], 200, path)

    def test_the_public_listener_leaves_healthz_to_the_app(self):
        nobody = self.gateway.start().client()
        answer, body = nobody.request("GET", "/healthz")
        self.assertEqual((answer.status, json.loads(body)["path"]), (200, "/healthz"))
        for path in ("/readyz", "/metrics"):
            answer, _ = nobody.request("GET", path)
            self.assertIn(answer.status, (303, 401), f"{path} is the app's and needs a login")

    def test_a_bad_file_makes_run_exit_78_and_say_where(self):
        text = self.gateway.config.read_text()
        self.gateway.config.write_text(text.replace("[session]\n", "[session]\nduraton = \"24h\"\n", 1))
        line = text[: text.index("[session]\n")].count("\n") + 2
        argv = [BINARY, "run", "-c", str(self.gateway.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 78, said)
        self.assertRegex(said, rf"gateway\.toml:{line}:1\b")
        self.assertIn("duration", said, "the nearest known name")

    def test_check_finds_every_problem_at_once_and_exits_1(self):
        with self.gateway.config.open("a") as file:
            file.write('\n[[routes]]\npath = "no-slash"\nupstream = ["nonsense://"]\naccess = "publik"\n')
        argv = [BINARY, "check", "-c", str(self.gateway.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, said)
        for word in ("no-slash", "nonsense", "publik"):
            self.assertIn(word, said)

    def test_check_is_content_with_a_good_file(self):
        argv = [BINARY, "check", "-c", str(self.gateway.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_standard_error_that_nobody_reads_holds_up_neither_a_request_nor_the_end(self):
        pipe = self.folder.path / "said"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        folder = Folder()
        self.addCleanup(folder.remove)
        gateway = Gateway(
            folder.path,
            f'[[routes]]\nupstream = ["http://127.0.0.1:{self.app.server_port}"]\naccess = "public"\n'
            f'[[routes]]\npath = "/dead"\nupstream = ["http://127.0.0.1:{free_port()}"]\naccess = "public"\n',
        )
        self.addCleanup(gateway.stop)
        gateway.start(wrap=("sh", "-c", f'exec 2>{pipe}; exec "$@"', "sh"))
        dead = gateway.client()
        # Each says a line of more than a hundred bytes, so the pipe is full long before the last.
        self.assertEqual([dead.request("GET", "/dead")[0].status for _ in range(90)], [502] * 90)
        self.assertEqual([gateway.client().request("GET", "/")[0].status for _ in range(8)], [200] * 8)
        self.assertEqual(gateway.stop(), 0)
