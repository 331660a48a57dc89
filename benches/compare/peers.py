"""The programs that are compared, each started with one worker on core 0, and the upstream behind all of them on core 1."""

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

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLUIDGATE = os.environ.get("FLUIDGATE", str(ROOT / "target/release/fluidgate"))
PROXY_CORE, RIG_CORE = "0", "1"
USER, PASSWORD, GROUP = "alice", "alice-correct-horse-battery-41", "staff"
BODY = "0123456789abcdef" * 64  # 1 KiB


class Unmeasurable(Exception):
    """Why a contestant or a figure could not be had."""


def program(name):
    """The path of an installed program; those in sbin count too."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise Unmeasurable(f"{name} is not installed; ./scripts/bench installs it")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    """A running contestant: its name in the table, its port, its processes."""

    def __init__(self, name, port, process=None, log=None, path="/", cookie=True):
        self.name, self.port, self.process, self.log, self.path, self.cookie = name, port, process, log, path, cookie
        self.also = []  # other programs without which this one does not work; their cost counts

    def processes(self):
        """The ids of the whole process tree."""
        found, todo = [], [self.process.pid, *(other.process.pid for other in self.also)]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                todo += [int(child) for child in file.read_text().split()]
        return found

    def answers(self, cookie=None):
        """Status and body length of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", self.path, headers={"Cookie": cookie} if cookie and self.cookie else {})
            answer = connection.getresponse()
            return answer.status, len(answer.read())


class Rig:
    """Everything that runs; `close` ends it all."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.running = []

    def start(self, name, argv, core, port, **options):
        log = self.folder / f"{name.replace(',', '').replace(' ', '-')}.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                ["taskset", "-c", core, *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(child)
        peer = Peer(name, port, child, log, **options)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return peer
            if child.poll() is not None or time.monotonic() > deadline:
                raise Unmeasurable(f"{name} did not start: {log.read_text(errors='replace')[-800:].strip()}")
            time.sleep(0.02)  # between two questions

    def close(self):
        for child in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def nginx(self, name, core, server, http_block=""):
        """An nginx with one worker and no access log; `server` is the inside of its server block."""
        port = free_port()
        home = self.folder / name.replace(",", "").replace(" ", "-")
        home.mkdir()
        temp = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
            f"events {{ worker_connections 1024; }}\nhttp {{ access_log off; {temp} keepalive_requests 1000000000;\n"
            f"{http_block}\nserver {{ listen 127.0.0.1:{port};\n{server}\n}} }}\n"
        )
        return self.start(name, [program("nginx"), "-c", home / "nginx.conf", "-e", home / "error.log"], core, port)

    def upstream(self):
        return self.nginx("upstream", RIG_CORE, f'location / {{ default_type text/plain; return 200 "{BODY}"; }}')

    def nginx_proxy(self, upstream, name="nginx proxy_pass", session=None, block=""):
        """nginx in front of the upstream; `session` says how it asks who this is, and is the inside of that location."""
        block += f"upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}"
        server = (
            f"location / {{ {'auth_request /session;' if session else ''} proxy_pass http://app; proxy_http_version 1.1;"
            f' proxy_set_header Connection ""; proxy_set_header Host $host;'
            f" proxy_set_header Remote-User {USER}; proxy_set_header Remote-Groups {GROUP}; }}"
        )
        if session:
            server += f"\nlocation = /session {{ internal; {session} }}"
        return self.nginx(name, PROXY_CORE, server, block)

    def nginx_auth_constant(self, upstream):
        """auth_request whose answer is a constant of the same worker: the least that auth_request can cost."""
        return self.nginx_proxy(upstream, "nginx auth_request, constant", "return 204;")

    def nginx_auth_service(self, upstream):
        """auth_request as it is deployed: the question goes over HTTP to a service, here the least one there is, on the same core."""
        service = self.nginx("auth service", PROXY_CORE, "location / { return 204; }")
        question = (
            "proxy_pass http://service; proxy_http_version 1.1; proxy_pass_request_body off;"
            ' proxy_set_header Connection ""; proxy_set_header Content-Length "";'
        )
        block = f"upstream service {{ server 127.0.0.1:{service.port}; keepalive 64; keepalive_requests 1000000000; }}\n"
        peer = self.nginx_proxy(upstream, "nginx auth_request, service", question, block)
        peer.also = [service]
        return peer

    def haproxy(self, upstream):
        port = free_port()
        config = self.folder / "haproxy.cfg"
        config.write_text(
            f"""global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  default_backend app
backend app
  http-request set-header Remote-User {USER}
  http-request set-header Remote-Groups {GROUP}
  server one 127.0.0.1:{upstream}
"""
        )
        return self.start("HAProxy", [program("haproxy"), "-db", "-f", config], PROXY_CORE, port)

    def fluidgate(self, upstream):
        """The gateway and a session cookie of its one user, whose two identity headers are those that the peers add."""
        if not pathlib.Path(FLUIDGATE).is_file():
            raise Unmeasurable(f"no gateway at {FLUIDGATE}")
        port, home = free_port(), self.folder / "gateway"
        (home / "state").mkdir(parents=True, mode=0o700)
        (home / "secret.key").touch(mode=0o600)
        (home / "secret.key").write_text(self.run(["secret"]))
        self.run(["users", "add", USER, "--file", home / "users.toml", "--groups", GROUP], PASSWORD + "\n")
        (home / "gateway.toml").write_text(
            f"""[server]
listen = ["127.0.0.1:{port}"]
workers = 1

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
target = "off"

[[routes]]
path = "/"
upstream = ["http://127.0.0.1:{upstream}"]

[[routes]]
path = "/public"
upstream = ["http://127.0.0.1:{upstream}"]
access = "public"
"""
        )
        peer = self.start("fluidgate", [FLUIDGATE, "run", "-c", home / "gateway.toml"], PROXY_CORE, port)
        return peer, self.log_in(port)

    @staticmethod
    def run(arguments, text=None):
        done = subprocess.run([FLUIDGATE, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Unmeasurable(f"fluidgate {arguments[0]}: {done.stdout}{done.stderr}".strip())
        return done.stdout

    @staticmethod
    def log_in(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            form = urllib.parse.urlencode({"username": USER, "password": PASSWORD, "return_to": "/"})
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
            connection.request("POST", "/_auth/login", form, headers)
            answer = connection.getresponse()
            if answer.status != 303:
                raise Unmeasurable(f"login answered {answer.status}: {answer.read()[:300]!r}")
            return answer.getheader("Set-Cookie").split(";")[0]
