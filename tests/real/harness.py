"""What the tests against real upstreams share: free ports, processes that end, the gateway, and a client that logs in.

Standard library only. The gateway is the release binary, or whatever FLUIDGATE names.
"""

import atexit
import contextlib
import hashlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FLUIDGATE", str(ROOT / "target/release/fluidgate"))
VENV = ROOT / "target/venv"
MIB = 1 << 20
GIVEN_PORTS = set()
PASSWORDS = {
    "alice": "alice-correct-horse-battery-41",
    "bob": "bob-staple-granite-lantern-77",
    "carol": "carol-violet-anchor-meadow-52",
}


# However the tests end, what they started and stored goes with them.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port():
    """A TCP port on loopback that was free a moment ago, and that this run has not given out before. Below those that the kernel
    takes for connections, so that none of them gets it meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


def wait_until(ready, what, seconds=20, process=None, log=None):
    """Asks `ready` until it answers true; fails at the deadline or when `process` has ended."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ready():
                return
        said = f"\n{pathlib.Path(log).read_text(errors='replace')[-3000:]}" if log else ""
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{what}: ended with {process.returncode}{said}")
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not ready after {seconds} s{said}")
        # The pause between two questions, not a wait for something to have happened.
        time.sleep(0.02)


def accepts(port, address="127.0.0.1"):
    """Whether something listens on `port`."""
    with socket.create_connection((address, port), timeout=1):
        return True


class Process:
    """A program in its own process group that is gone when `stop` returns."""

    def __init__(self, argv, log, **options):
        self.log = pathlib.Path(log)
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        atexit.register(self.stop, 2)

    def stop(self, seconds=15):
        """Asks it to end, then ends it. Gives the exit code."""
        if self.child.returncode is not None:
            return self.child.returncode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGTERM)
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        return code


class Folder:
    """A temporary folder under target/, so that large files meet the disk of the build and not a memory file system."""

    def __init__(self):
        base = ROOT / "target/tmp"
        base.mkdir(parents=True, exist_ok=True)
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="real-", dir=base))
        atexit.register(self.remove)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Gateway:
    """One gateway in a folder of its own; `routes` is the text of its `[[routes]]` tables, `store` the path of its sessions,
    `server` and `session` more lines of these tables, `listeners` more items of `server.listen`."""

    def __init__(
        self, folder, routes, users=("alice", "bob"), server="", store="state/sessions", session="", listeners=()
    ):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.management = free_port()
        self.config = self.folder / "gateway.toml"
        self.process = None
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        more = "".join(f", {listener}" for listener in listeners)
        self.config.write_text(
            f"""[server]
listen = ["127.0.0.1:{self.port}"{more}]
{server}
[session]
secrets = ["file:secret.key"]
store = {{ type = "sled", path = "{store}" }}
{session}

[session.cookie]
secure = false

[login.password]
users = "users.toml"

[management]
listen = "127.0.0.1:{self.management}"

{routes}
"""
        )
        secret = self.folder / "secret.key"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(subprocess.run([BINARY, "secret"], check=True, capture_output=True, text=True).stdout)
            for name in users:
                self.add_user(name)

    def add_user(self, name):
        """Makes a user as an operator would: the password on standard input, never an argument."""
        argv = [BINARY, "users", "add", name, "--file", str(self.folder / "users.toml")]
        argv += ["--name", name.capitalize(), "--email", f"{name}@example.com", "--groups", "staff,readers"]
        done = subprocess.run(argv, input=PASSWORDS[name] + "\n", capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"users add {name}: {done.stdout}{done.stderr}"

    def start(self, wrap=(), env=None):
        """Runs it, below the program and arguments of `wrap` if any, and waits until /readyz says yes."""
        log = self.folder / "gateway.log"
        environment = {**os.environ, **env} if env else None
        self.process = Process([*wrap, BINARY, "run", "-c", self.config], log, env=environment)
        wait_until(
            lambda: self.ask_management("/readyz")[0] == 200, "gateway", process=self.process.child, log=log
        )
        return self

    def ask_management(self, path):
        """Status and body of a GET on the management listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.management, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def stop(self):
        """SIGTERM, then the exit code; None when it had to be killed."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        return process.stop()

    def memory(self, field):
        """`field` (VmRSS, VmHWM) of /proc/PID/status in MiB."""
        for line in pathlib.Path(f"/proc/{self.process.child.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"no {field}")

    def forget_memory_peak(self):
        """Sets VmHWM back to what is resident now."""
        pathlib.Path(f"/proc/{self.process.child.pid}/clear_refs").write_text("5")

    def client(self, user=None):
        """A client of this gateway, logged in as `user` when one is named."""
        client = Client(self.port)
        if user is not None:
            client.log_in(user, PASSWORDS[user])
        return client


class Client:
    """A minimal user agent: one origin, one cookie of ours, a new connection for each request."""

    def __init__(self, port):
        self.port = port
        self.cookie = None

    def log_in(self, user, password, return_to="/"):
        """Logs in through the form and keeps the session cookie. Gives where it is sent next."""
        form = urllib.parse.urlencode({"username": user, "password": password, "return_to": return_to})
        answer, body = self.request(
            "POST",
            "/_auth/login",
            body=form,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
        )
        assert answer.status == 303, f"login of {user}: {answer.status} {body[:500]!r}"
        given = answer.headers.get_all("Set-Cookie") or []
        assert len(given) == 1, f"login of {user} set {given}"
        self.cookie = given[0].split(";")[0]
        return answer.getheader("Location")

    def log_in_at(self, host, user):
        """Logs `user` in at the host name `host` and gives the cookie."""
        form = urllib.parse.urlencode({"username": user, "password": PASSWORDS[user], "return_to": "/"})
        head = [b"POST /_auth/login HTTP/1.1", b"Content-Type: application/x-www-form-urlencoded", b"Sec-Fetch-Site: same-origin"]
        answer, body = self.raw(head, form.encode(), host=host)
        assert answer.status == 303, f"login of {user}: {answer.status} {body[:500]!r}"
        self.cookie = answer.getheader("Set-Cookie").split(";")[0]
        return self.cookie

    def open(self, method, path, body=None, headers=None, timeout=60):
        """Sends a request and gives the connection and the answer, its body unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = dict(headers or {})
        if self.cookie and "Cookie" not in sent:
            sent["Cookie"] = self.cookie
        connection.request(method, path, body=body, headers=sent)
        return connection, connection.getresponse()

    def request(self, method, path, body=None, headers=None, timeout=60):
        """Sends a request and gives the answer and its whole body."""
        connection, answer = self.open(method, path, body, headers, timeout)
        with contextlib.closing(connection):
            return answer, answer.read()

    def raw(self, head_lines, body=b"", with_cookie=True, host=None):
        """Sends exactly these header lines (bytes) and gives status, headers and body of the answer."""
        host = host or f"127.0.0.1:{self.port}"
        lines = list(head_lines) + [b"Host: " + host.encode(), b"Content-Length: %d" % len(body)]
        if with_cookie and self.cookie:
            lines.append(b"Cookie: " + self.cookie.encode())
        if not any(line.lower().startswith(b"connection:") for line in lines):
            lines.append(b"Connection: close")
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as stream:
            stream.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = http.client.HTTPResponse(stream, method=lines[0].split()[0].decode())
            answer.begin()
            return answer, answer.read()


def write_pattern(path, size):
    """Fills `path` with `size` bytes, no two MiB alike, and gives their SHA-256."""
    digest = hashlib.sha256()
    noise = os.urandom(MIB - 8)
    with open(path, "wb") as out:
        for number in range(size // MIB):
            block = number.to_bytes(8, "big") + noise
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def digest_of(stream):
    """SHA-256 and length of what `stream` still gives."""
    digest, length = hashlib.sha256(), 0
    while block := stream.read(MIB):
        digest.update(block)
        length += len(block)
    return digest.hexdigest(), length
