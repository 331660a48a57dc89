"""The rig: how a program is started on its core and ended again, the upstream behind all of them, and fluidgate itself.

What fluidgate is compared with stands in others.py.
"""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import tls_client

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLUIDGATE = os.environ.get("FLUIDGATE", str(ROOT / "target/release/fluidgate"))
PROXY_CORE, RIG_CORE = "0", "1"
BOTH = f"{PROXY_CORE},{RIG_CORE}"
USER, PASSWORD, GROUP = "alice", "alice-correct-horse-battery-41", "staff"
BODY = "0123456789abcdef" * 64  # 1 KiB
SIZES = {"/": 1024, "/64k": 65536}  # what the upstream answers, by path; "/public" may stand in front

LARGE = 256 << 20  # bytes of the largest answer


class Unmeasurable(Exception):
    """Why a contestant or a figure could not be had."""


def program(name):
    """The path of an installed program; those in sbin and those that ./scripts/bench built count too."""
    found = shutil.which(name) or shutil.which(name, path=f"/usr/sbin:/usr/local/sbin:{ROOT}/target/tools/bin")
    if not found:
        raise Unmeasurable(f"{name} is not installed; ./scripts/bench installs it")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    """A running contestant: its name in the table, its ports, its processes, the cookie of its live session."""

    def __init__(self, name, port, process=None, log=None, path="", cookie=None, tls=None):
        self.name, self.port, self.process, self.log, self.path, self.cookie, self.tls = (
            name,
            port,
            process,
            log,
            path,
            cookie,
            tls,
        )
        self.also = []  # other programs without which this one does not work; their cost counts

    def processes(self):
        """The ids of the whole process tree."""
        found, todo = [], [self.process.pid, *(other.process.pid for other in self.also)]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    todo += [int(child) for child in file.read_text().split()]
        return found

    def resident(self):
        """Resident memory of the process tree in bytes."""
        pages = (int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def answers(self, path="/", cookie=None, tls=False):
        """Status and body length of one request."""
        if tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=10, context=tls_client.context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", self.path + path, headers={"Cookie": cookie} if cookie else {})
            answer = connection.getresponse()
            return answer.status, len(answer.read())


def plain(name):
    """A contestant's name as a file's."""
    return name.replace(",", "").replace(" ", "-").replace("/", "-")


class Rig:
    """Everything that runs; `close` ends it all."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.running = []
        # Where large bodies go, when the part that sends them has started its sink there.
        self.sink = free_port()

    def start(self, name, argv, core, port, environment=None, **options):
        """Starts a program and waits until it takes connections."""
        log = self.folder / f"{plain(name)}.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                ["taskset", "-c", core, *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.running.append(child)
        peer = Peer(name, port, child, log, **options)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return peer
            if child.poll() is not None or time.monotonic() > deadline:
                raise Unmeasurable(f"{name} did not start: {log.read_text(errors='replace')[-800:].strip()}")
            time.sleep(0.02)  # between two questions

    def stop(self, *peers):
        """Ends some of what runs, before the rest."""
        self.end([child for peer in peers for child in [peer.process, *(other.process for other in peer.also)]])

    def close(self):
        self.end(list(self.running))

    def end(self, children):
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child in self.running:
                self.running.remove(child)

    def home(self, name):
        """A new folder of a contestant's own."""
        home, number = self.folder / plain(name), 1
        while home.exists():
            number += 1
            home = self.folder / f"{plain(name)}-{number}"
        home.mkdir(mode=0o700)
        return home

    def certificate(self):
        """One ECDSA certificate for everybody: the files of the chain, of the key, and of both."""
        chain, key, both = (self.folder / name for name in ("cert.pem", "key.pem", "both.pem"))
        if not both.exists():
            argv = [
                program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "2", "-keyout", key, "-out", chain, "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ]  # fmt: skip
            subprocess.run([str(part) for part in argv], capture_output=True, check=True, timeout=30)
            key.chmod(0o600)
            both.touch(mode=0o600)
            both.write_text(chain.read_text() + key.read_text())
        return chain, key, both

    def nginx(self, name, core, server, http_block="", connections=1024, tls=False, workers=1):
        """An nginx without access log; `server` is the inside of its server block."""
        port, home = free_port(), self.home(name)
        secure = free_port() if tls else None
        shared = " reuseport" if workers > 1 else ""  # so that the system shares connections out among them
        if tls:
            chain, key, _ = self.certificate()
            server = (
                f"listen 127.0.0.1:{secure} ssl http2{shared}; ssl_certificate {chain}; ssl_certificate_key {key};\n"
                f"ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:4m; http2_max_requests 1000000000;\n{server}"
            )
        temp = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes {workers}; pid {home}/pid; error_log {home}/error.log;\n"
            f"events {{ worker_connections {connections}; }}\n"
            f"http {{ access_log off; {temp} keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;\n"
            f"{http_block}\nserver {{ listen 127.0.0.1:{port}{shared};\n{server}\n}} }}\n"
        )
        return self.start(name, [program("nginx"), "-c", home / "nginx.conf", "-e", home / "error.log"], core, port, tls=secure)

    def upstream(self, name="upstream", core=RIG_CORE, workers=1):
        """What stands behind everybody: 1 KiB on every path, 64 KiB where the path ends so, and how often it was connected to."""
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        (files / "64k").write_text(BODY * 64)
        with (files / "large").open("wb") as large:
            large.truncate(LARGE)
        return self.nginx(
            name, core,
            f'location / {{ default_type text/plain; return 200 "{BODY}"; }}\n'
            f"location ~ /64k$ {{ default_type text/plain; root {files}; try_files /64k =404; sendfile on; tcp_nopush on;"
            " open_file_cache max=10 inactive=1h; }\n"
            f"location = /large {{ root {files}; sendfile on; tcp_nopush on; open_file_cache max=10 inactive=1h; }}\n"
            f"location = /sink {{ proxy_pass http://127.0.0.1:{self.sink};"
            " proxy_http_version 1.1; proxy_request_buffering off; }\n"
            "location = /accepted { stub_status; }",
            connections=8192, workers=workers,
        )  # fmt: skip

    def fluidgate(self, upstream, name="fluidgate", workers=1, core=PROXY_CORE, log="off", routes="", limits="", binary=None):
        """The gateway and a session cookie of its one user, whose two identity headers are those that the peers add."""
        argv, port, secure = self.gateway_at_rest(upstream, name, workers, log, routes, limits, binary)
        peer = self.start(name, argv, core, port, tls=secure)
        peer.cookie = self.log_in(port)
        return peer, peer.cookie

    def gateway_at_rest(self, upstream, name, workers=1, log="off", routes="", limits="", binary=None):
        """A gateway's command line and its two ports; its store is empty, and it does not run yet."""
        if not pathlib.Path(FLUIDGATE).is_file():
            raise Unmeasurable("there is no gateway where FLUIDGATE says")
        port, secure, home = free_port(), free_port(), self.home(name)
        chain, key, _ = self.certificate()
        (home / "state").mkdir(mode=0o700)
        (home / "secret.key").touch(mode=0o600)
        (home / "secret.key").write_text(self.run(["secret"]))
        self.run(["users", "add", USER, "--file", home / "users.toml", "--groups", GROUP], PASSWORD + "\n")
        (home / "gateway.toml").write_text(
            f"""[server]
listen = ["127.0.0.1:{port}", {{ address = "127.0.0.1:{secure}", tls = true }}]
workers = {workers}
{limits}

[tls]
certificates = [{{ certificate = "{chain}", key = "{key}" }}]

[session]
secrets = ["file:secret.key"]
store = {{ type = "sled", path = "state/sessions" }}

[session.cookie]
secure = false

[login.password]
users = "users.toml"

[management]
listen = false

[access_log]
target = "{log.replace("HOME", str(home))}"

[[routes]]
path = "/"
upstream = ["http://127.0.0.1:{upstream}"]

[[routes]]
path = "/public"
upstream = ["http://127.0.0.1:{upstream}"]
access = "public"
{routes}
"""
        )
        return [binary or FLUIDGATE, "run", "-c", home / "gateway.toml"], port, secure

    @staticmethod
    def run(arguments, text=None):
        done = subprocess.run([FLUIDGATE, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Unmeasurable(f"fluidgate {arguments[0]}: {done.stdout}{done.stderr}".strip())
        return done.stdout

    @staticmethod
    def log_in(port, path="/_auth/login", form=None, expected=303):
        """Signs in by a form; gives the session cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            form = urllib.parse.urlencode(form or {"username": USER, "password": PASSWORD, "return_to": "/"})
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
            connection.request("POST", path, form, headers)
            answer = connection.getresponse()
            if answer.status != expected or not answer.getheader("Set-Cookie"):
                raise Unmeasurable(f"login answered {answer.status}: {answer.read()[:300]!r}")
            return answer.getheader("Set-Cookie").split(";")[0]
