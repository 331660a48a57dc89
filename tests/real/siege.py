"""What attacks are made on and measured by: a gateway with every kind of listener before real upstreams, an honest client beside
the attackers, who of them is still held, and the memory it takes."""

import contextlib
import dataclasses
import pathlib
import socket
import ssl
import sys
import time

from authority import Authority
from harness import MIB, Gateway, Process, accepts, free_port, wait_until
from peers import start_nginx

HERE = pathlib.Path(__file__).resolve().parent
# Attackers, the honest client and the proxy in front are different sources, because the caps are per source.
ATTACKER, HONEST, PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
# Two deadlines of the gateway that no key moves: an idle connection of HTTP/2 after GOAWAY, and a client that was answered early.
LAST_CALL, LINGER = 10, 10
# States of a socket that its own side has not closed, as /proc/net/tcp has them.
ESTABLISHED, CLOSE_WAIT = "01", "08"


@dataclasses.dataclass(frozen=True)
class Limits:
    """The deadlines of a gateway in seconds. The defaults are the product's own, but for the tunnel, which has none."""

    handshake: int = 10
    first_byte: int = 30
    head: int = 60
    body: int = 60
    idle: int = 60
    tunnel: int = 60
    ping: int = 30
    pong: int = 20

    @classmethod
    def all(cls, seconds):
        return cls(*[seconds] * 8)

    def toml(self):
        """The lines of `[server]` that set them."""
        first = [f'{name}_timeout = "{getattr(self, name)}s"\n' for name in ("handshake", "first_byte", "head", "body", "idle", "tunnel")]
        return "".join(first) + f'http2 = {{ ping_interval = "{self.ping}s", ping_timeout = "{self.pong}s" }}\n'


class Site:
    """The gateway under siege. `test` ends what is started; `server` is more lines of `[server]`."""

    def __init__(self, test, folder, limits, server="", wrap=(), capacity=256, log="off"):
        self.folder, self.limits = pathlib.Path(folder), limits
        self.authority = Authority(self.folder)
        self.authority.sign("front", "127.0.0.1", "front.test")
        www = self.folder / "www"
        www.mkdir()
        (www / "index.html").write_text("<!doctype html><title>page</title>" + "x" * 1000)
        (www / "half.bin").write_bytes(b"h" * 60_000)
        with (www / "large.bin").open("wb") as large:
            large.truncate(64 * MIB)
        self.app, self.sockets, self.capacity = free_port(), free_port(), capacity
        self.start_app(test)
        source = Process([sys.executable, HERE / "websocket_source.py", self.sockets], self.folder / "sockets.log")
        self.on_end(test)(source.stop)
        wait_until(lambda: accepts(self.sockets), "websocket source", process=source.child, log=source.log)
        self.tls, self.h2c, self.proxied = free_port(), free_port(), free_port()
        upstream = f'upstream = ["http://127.0.0.1:{self.app}"]'
        sockets = f'upstream = ["http://127.0.0.1:{self.sockets}"]'
        self.gateway = Gateway(
            self.folder,
            f"""[tls]
certificates = [{self.authority.toml("front")}]

[access_log]
target = "{log}"

[[routes]]
path = "/"
access = "public"
{upstream}

[[routes]]
path = "/private"
replace_prefix = "/"
{upstream}

[[routes]]
path = "/own"
access = "public"
respond = {{ status = 200, body = "here" }}

[[routes]]
path = "/sockets"
access = "public"
{sockets}
""",
            server=f'trusted_proxies = ["{PROXY}/32"]\n{limits.toml()}{server}',
            listeners=[
                f'{{ address = "127.0.0.1:{self.tls}", tls = true }}',
                f'{{ address = "127.0.0.1:{self.h2c}", h2c = true }}',
                f'{{ address = "127.0.0.1:{self.proxied}", proxy_protocol = true }}',
            ],
        )
        self.on_end(test)(self.gateway.stop)
        self.gateway.start(wrap=wrap)
        self.cookie = self.gateway.client("alice").cookie
        self.context = ssl.create_default_context(cafile=str(self.authority.file))

    def start_app(self, test):
        """The upstream, which can be stopped by `nginx.stop`."""
        server = (
            f"  server {{ listen 127.0.0.1:{self.app} backlog=4096; root {self.folder}/www; keepalive_timeout 600s;"
            " client_body_timeout 600s; location /up/ { dav_methods PUT; } }"
        )
        name = f"nginx-{time.monotonic_ns()}"
        self.nginx = start_nginx(test, self.folder, server, self.app, name, connections=self.capacity)

    @staticmethod
    def on_end(test):
        return test.addClassCleanup if isinstance(test, type) else test.addCleanup

    @property
    def pid(self):
        return self.gateway.process.child.pid

    def dial(self, way, small_buffer=False):
        """A connection of an attacker: `plain`, `tls`, `h2c`, `h2`, `proxied`, or `shaking` (TLS, and no word of it spoken)."""
        port = {"plain": self.gateway.port, "h2c": self.h2c, "proxied": self.proxied}.get(way, self.tls)
        stream, small = socket.socket(), (socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        # A handshake would take for ever with so small a buffer.
        shakes = way in ("tls", "h2")
        if small_buffer and not shakes:
            stream.setsockopt(*small)
        stream.settimeout(20)
        stream.bind((PROXY if way == "proxied" else ATTACKER, 0))
        stream.connect(("127.0.0.1", port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shakes:
            context = self.context
            context.set_alpn_protocols(["h2" if way == "h2" else "http/1.1"])
            stream = context.wrap_socket(stream, server_hostname="127.0.0.1")
            if small_buffer:
                stream.setsockopt(*small)
        return stream

    def held(self):
        """The clients' ends, in the kernel's spelling, of the connections that the gateway has not closed."""
        ports = tuple(f":{port:04X}" for port in (self.gateway.port, self.tls, self.h2c, self.proxied))
        found = set()
        with open("/proc/net/tcp") as table:
            next(table)
            for line in table:
                fields = line.split()
                if fields[1].endswith(ports) and fields[3] in (ESTABLISHED, CLOSE_WAIT):
                    found.add(fields[2])
        return found

    def resident(self):
        return self.gateway.memory("VmRSS")

    def processor_seconds(self):
        """What the gateway has used of the processors so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def name_of(stream):
    """The client's end of a connection as `Site.held` has it."""
    address, port = stream.getsockname()
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"


class Honest:
    """The honest client, from its own address, logged in, while the block lasts."""

    def __init__(self, site, rate=100):
        head = f"GET /private/index.html HTTP/1.1\\nHost: 127.0.0.1:{site.gateway.port}\\nCookie: {site.cookie}"
        self.log = site.folder / f"honest-{time.monotonic_ns()}.log"
        argv = [sys.executable, HERE / "honest_client.py", site.gateway.port, HONEST, rate, head]
        self.process = Process(argv, self.log)

    def __enter__(self):
        wait_until(lambda: self.between(0), "honest client", process=self.process.child, log=self.log)
        return self

    def __exit__(self, *_):
        self.process.stop()

    def between(self, start, end=float("inf")):
        """(latency in ms, whether it was served) of the requests that were sent in that span of `time.monotonic()`."""
        rows = [line.split() for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [(float(took), good == "1") for at, took, good in rows if start <= float(at) < end]


@dataclasses.dataclass
class Served:
    """What an honest client has seen in a span."""

    p50: float
    p99: float
    failed: int
    count: int

    @classmethod
    def of(cls, rows):
        took = sorted(ms for ms, _ in rows) or [float("nan")]
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))]  # noqa: E731
        return cls(at(0.5), at(0.99), sum(not good for _, good in rows), len(rows))

    def __str__(self):
        return f"{self.p50:.1f}/{self.p99:.1f}" + (f" ({self.failed} of {self.count} failed)" if self.failed else "")


def close_all(streams):
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()
