"""What the fault tests share: a gateway with cheap logins, an upstream, and the ledger of what it acknowledged.

Standard library only. FAULTS=full asks for the long form; FAULTS_SEED moves the random choices (printed in each failure).
"""

import contextlib
import http.client
import http.server
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "real"))

import harness  # noqa: E402

FULL = os.environ.get("FAULTS") == "full"
SEED = int(os.environ.get("FAULTS_SEED", "1"))
USER, PASSWORD = "alice", "alice-correct-horse-battery-41"
# The least Argon2id there is: these tests are about what comes after the password.
USERS = (
    '[users.alice]\npassword = "$argon2id$v=19$m=64,t=1,p=1$Zmx1aWRnYXRlc2FsdDEyMw$'
    'jp3/xGtYX6blaCAIXTdYAIzwQCFu7ATyblgA47suejA"\n'
)
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
LOGIN = urllib.parse.urlencode({"username": USER, "password": PASSWORD, "return_to": "/"})


def rounds(bounded, full):
    """How often: the bounded number, or the full one when that was asked for."""
    return full if FULL else bounded


def chooser(name):
    """A generator of its own for `name`, the same in every run with the same seed."""
    return random.Random(f"{SEED} {name}")


class App(http.server.BaseHTTPRequestHandler):
    """An upstream that answers every request with a body of known length."""

    protocol_version = "HTTP/1.1"
    BODY = b"0123456789abcdef" * 512

    def do_GET(self):  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


class Gateway(harness.Gateway):
    """A gateway whose logins cost next to nothing, in `folder`, its store at `store`."""

    def __init__(self, folder, app, store="state/sessions", session="max_bad_cookies = 0"):
        self.log = pathlib.Path(folder) / "gateway.log"
        self.store = pathlib.Path(folder) / store
        users = pathlib.Path(folder) / "users.toml"
        users.touch(mode=0o600)
        users.write_text(USERS)
        route = f'[access_log]\ntarget = "off"\n\n[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{app.server_port}"]\n'
        # A ledger is asked for many sessions that are over, all from one address.
        super().__init__(folder, route, users=(), store=store, session=session)

    def kill(self):
        """SIGKILL to the process group, if one runs."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.child.pid, 9)
        process.child.wait()

    def said(self):
        """Everything it wrote since the log was last emptied."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def forget_log(self):
        self.log.unlink(missing_ok=True)

    def log_in(self):
        """A login; gives the status, the cookie (None without one) and the headers."""
        return log_in(self.port)

    def log_out(self, cookie):
        return request(self.port, "POST", "/_auth/logout", "", {**FORM, "Cookie": cookie})[0]

    def status(self, cookie, path="/_auth/whoami"):
        return request(self.port, "GET", path, None, {"Cookie": cookie})[0]

    def readiness(self):
        return self.ask_management("/readyz")[0]

    def try_to_start(self, seconds=15):
        """Starts it on whatever the store is; True when it serves, or its exit code when it ended."""
        try:
            self.start()
            return True
        except AssertionError:
            process = self.process
            self.process = None
            try:
                return process.child.wait(seconds)
            except subprocess.TimeoutExpired:
                process.stop(1)
                raise AssertionError(f"neither serves nor ends:\n{self.said()[-2000:]}") from None


def request(port, method, path, body=None, headers=None, timeout=20):
    """Status, headers and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def log_in(port):
    status, headers, _ = request(port, "POST", "/_auth/login", LOGIN, FORM)
    given = headers.get("Set-Cookie")
    return status, given.split(";")[0] if status == 303 and given else None, headers


class Ledger:
    """What was acknowledged: every session is in, ending (asked for and not answered) or out."""

    def __init__(self):
        self.state = {}
        self.unanswered = 0
        self.lock = threading.Lock()

    def log_in(self, gateway):
        """A login; counts as unanswered until the answer is here."""
        with self.lock:
            self.unanswered += 1
        status, cookie, _ = gateway.log_in()
        with self.lock:
            self.unanswered -= 1
            if status == 303:
                self.state[cookie] = "in"
        return status, cookie

    def log_out(self, gateway, cookie):
        with self.lock:
            self.state[cookie] = "ending"
        status = gateway.log_out(cookie)
        if status == 303:
            with self.lock:
                self.state[cookie] = "out"
        return status

    def of(self, *states):
        return [cookie for cookie, state in self.state.items() if state in states]

    def faults(self, gateway, may_lose=False, sample=None, choose=None):
        """What contradicts the ledger, in words; `may_lose` allows sessions to be dropped, never to come back."""
        cookies = list(self.state)
        if sample is not None and len(cookies) > sample:
            # The newest are always looked at: they are nearest to the fault.
            cookies = cookies[-sample // 2 :] + choose.sample(cookies[: -sample // 2], sample // 2)
        found, lost = [], 0
        for cookie in cookies:
            status, state = gateway.status(cookie), self.state[cookie]
            if status not in (200, 401):
                found.append(f"whoami answers {status}")
            elif status == 200 and state == "out":
                found.append("a logged-out session is back")
            elif status == 401 and state == "in":
                lost += 1
        if lost and not may_lose:
            found.append(f"{lost} acknowledged logins are lost")
        self.lost = lost
        return found


class FaultTest(unittest.TestCase):
    """A test with a folder, an upstream and, in `self.gateway`, a gateway that is not running yet."""

    store = "state/sessions"
    app_class = App

    def setUp(self):
        self.folder = harness.Folder()
        self.addCleanup(self.folder.remove)
        self.app = Server(("127.0.0.1", 0), self.app_class)
        threading.Thread(target=self.app.serve_forever, daemon=True).start()
        self.addCleanup(self.app.server_close)
        self.addCleanup(self.app.shutdown)
        self.gateway = self.gateway_in(self.folder.path)
        self.choose = chooser(self.id())

    def gateway_in(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(exist_ok=True, parents=True)
        gateway = Gateway(folder, self.app, self.store)
        self.addCleanup(gateway.stop)
        return gateway

    def no_panic(self, gateway=None):
        said = (gateway or self.gateway).said()
        self.assertNotIn("panicked at", said, said[-3000:])

    def hold(self, ledger, context, gateway=None, **options):
        """Fails when the gateway contradicts the ledger."""
        gateway = gateway or self.gateway
        faults = ledger.faults(gateway, **options)
        self.assertEqual(faults, [], f"{context}, seed {SEED}\n{gateway.said()[-2000:]}")


def copy_store(source, target):
    """Copies a store with the files beside it, as a whole."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if source.exists():
        shutil.copytree(source, target)
    for beside in source.parent.glob(source.name + ".*"):
        shutil.copy2(beside, target.parent / beside.name)


def need(test, *programs):
    """A missing program is a failure, not a skip."""
    for name in programs:
        test.assertIsNotNone(shutil.which(name), f"{name} is needed: ./scripts/faults installs it")


def pause(choose, most):
    """A random delay: half of them none at all."""
    if choose.random() < 0.5:
        time.sleep(choose.uniform(0, most))
