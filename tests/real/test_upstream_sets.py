"""Several real upstreams behind one route, and upstreams by unix socket, by TLS and by HTTP/2."""

import collections
import json
import os
import pathlib
import re
import signal
import threading
import unittest

from authority import Authority
from harness import VENV, Folder, Gateway, Process, accepts, free_port, wait_until
from peers import start_nginx
from wire import Closed, Wire, get

HERE = pathlib.Path(__file__).resolve().parent


class Load:
    """Clients that ask for `/` without a pause; counts who answered, and keeps what went wrong."""

    def __init__(self, port, clients=8):
        self.port, self.over = port, threading.Event()
        self.answers, self.wrong = collections.Counter(), []
        self.clients = [threading.Thread(target=self.visit, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for client in self.clients:
            client.join(30)

    def visit(self):
        while not self.over.is_set():
            try:
                with Wire.to(self.port) as wire:
                    while not self.over.is_set():
                        head, body = wire.ask(get("/", self.port))
                        if head.status != 200:
                            self.wrong.append((head.status, body[:60]))
                        self.answers[body.decode()] += 1
            except (OSError, Closed) as error:
                self.wrong.append(repr(error))

    def wait_for(self, name, count=50):
        """Waits until `name` has answered so many more requests."""
        before = self.answers[name]
        wait_until(lambda: self.answers[name] >= before + count, f"{count} answers of {name}")

    def wait_for_rest(self, name):
        """Waits until `name` gets nothing while the others go on."""

        def rests():
            before = self.answers[name]
            self.wait_for_all(300)
            return self.answers[name] == before

        wait_until(rests, f"no more requests for {name}")

    def wait_for_all(self, count=300):
        """Waits until so many more requests have been answered, by whomever."""
        before = self.answers.total()
        wait_until(lambda: self.answers.total() >= before + count, f"{count} answers")


class Sets(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.ports = {name: free_port() for name in ("one", "two", "three")}
        self.started = {}
        for name in self.ports:
            self.start(name)

    def start(self, name):
        """An nginx that answers its own name, or 503 to /health when there is a file `NAME.sick`."""
        run = f"{name}-{len(self.started)}"
        port, sick = self.ports[name], self.folder.path / f"{name}.sick"
        self.started[name] = start_nginx(
            self,
            self.folder.path,
            f"""server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{name}'; }}
    location = /health {{ if (-f {sick}) {{ return 503; }} return 200 'well'; }}
  }}""",
            port,
            run,
        )
        self.started[run] = self.started[name]

    def kill(self, name):
        """kill -9, its workers too."""
        process = self.started[name]
        os.killpg(process.child.pid, signal.SIGKILL)
        process.child.wait()

    def route(self, more="", drain=(), weights=()):
        urls = []
        for name, port in self.ports.items():
            words = [f'url = "http://127.0.0.1:{port}"']
            words += ["drain = true"] * (name in drain)
            words += [f"weight = {weight}" for heavy, weight in weights if heavy == name]
            urls.append(f"{{ {', '.join(words)} }}")
        return f'[[routes]]\npath = "/"\naccess = "public"\nupstream = [{", ".join(urls)}]\n{more}\n'

    def gateway(self, routes):
        self.front = Gateway(self.folder.path, routes)
        self.addCleanup(self.front.stop)
        return self.front.start()

    def test_an_upstream_killed_under_load_fails_no_request_and_comes_back_by_its_health_check(self):
        health = 'health = { path = "/health", interval = "1s", timeout = "500ms", healthy_after = 2, unhealthy_after = 2 }'
        front = self.gateway(self.route(health))
        with Load(front.port) as load:
            for name in self.ports:
                load.wait_for(name)
            self.kill("two")
            load.wait_for_all(2000)
            # Once the check has found it dead, nobody even tries it; the others carry on.
            seen = load.answers["two"]
            for name in ("one", "three"):
                load.wait_for(name)
            self.assertEqual(load.answers["two"], seen)
            self.start("two")
            load.wait_for("two")
        self.assertEqual(load.wrong, [])
        print(f"\n  three upstreams, one killed and started again: {dict(load.answers)}, 0 failed", flush=True)

    def test_an_upstream_that_says_it_is_sick_gets_no_requests_until_it_is_well(self):
        health = 'health = { path = "/health", interval = "1s", timeout = "500ms", healthy_after = 1, unhealthy_after = 1 }'
        front = self.gateway(self.route(health))
        sick = self.folder.path / "three.sick"
        with Load(front.port, 4) as load:
            load.wait_for("three")
            sick.touch()

            load.wait_for_rest("three")
            sick.unlink()
            load.wait_for("three")
        self.assertEqual(load.wrong, [])

    def test_a_killed_upstream_is_taken_out_without_a_health_check_too(self):
        front = self.gateway(self.route('ejection = { failures = 2, period = "2s" }'))
        with Load(front.port) as load:
            for name in self.ports:
                load.wait_for(name)
            self.kill("one")
            load.wait_for_all(2000)
            self.start("one")
            load.wait_for("one")
        self.assertEqual(load.wrong, [])

    def test_all_killed_is_502_and_over_when_one_is_back(self):
        front = self.gateway(self.route('ejection = { failures = 2, period = "2s" }'))
        for name in self.ports:
            self.kill(name)
        with Wire.to(front.port) as wire:
            for _ in range(5):
                self.assertIn(wire.ask(get("/", front.port))[0].status, (502, 503))
            self.start("two")
            wait_until(lambda: wire.ask(get("/", front.port))[0].status == 200, "an answer")

    def reload(self, routes):
        text = self.front.config.read_text()
        self.front.config.write_text(text[: text.index("[[routes]]")] + routes)
        self.front.process.child.send_signal(signal.SIGHUP)

    def test_a_drained_upstream_gets_nothing_more_and_nothing_fails(self):
        front = self.gateway(self.route())
        with Load(front.port) as load:
            for name in self.ports:
                load.wait_for(name)
            self.reload(self.route(drain=["three"]))

            load.wait_for_rest("three")
            # What is drained may go.
            self.kill("three")
            load.wait_for_all(1000)
            self.start("three")
            self.reload(self.route())
            load.wait_for("three")
        self.assertEqual(load.wrong, [])

    def test_the_work_is_shared_by_the_rule_and_the_weights(self):
        front = self.gateway(self.route('balance = "round_robin"', weights=[("three", 2)]))
        # Each worker has a turn of its own, so one connection is one turn.
        with Wire.to(front.port) as wire:
            shares = collections.Counter(wire.ask(get("/", front.port))[1].decode() for _ in range(400))
        self.assertEqual(shares, {"one": 100, "two": 100, "three": 200})

    def test_the_same_cookie_leads_to_the_same_upstream_while_that_lives(self):
        front = self.gateway(self.route('balance = { hash_cookie = "app" }\nejection = { failures = 2, period = "2s" }'))
        homes = {}
        for number in range(30):
            with Wire.to(front.port) as wire:
                came = {wire.ask(get("/", front.port, f"app=user-{number}"))[1].decode() for _ in range(5)}
            self.assertEqual(len(came), 1, came)
            homes[number] = came.pop()
        self.assertEqual(set(homes.values()), set(self.ports))
        self.kill("one")
        for number, home in homes.items():
            with Wire.to(front.port) as wire:
                head, body = wire.ask(get("/", front.port, f"app=user-{number}"))
            self.assertEqual(head.status, 200)
            if home != "one":
                self.assertEqual(body.decode(), home, "a user of another upstream was moved")


class Names(unittest.TestCase):
    """An upstream by name, which moves to another address."""

    def test_requests_follow_a_name_to_its_new_address_and_none_fails(self):
        folder = Folder()
        self.addCleanup(folder.remove)
        hosts, port = folder.path / "hosts", free_port()

        def name_stands_for(address):
            # In place, as the file is mounted over the real one, and by one write of the same length: emptied first, it could be read
            # at a moment when the name stands for nothing.
            with open(hosts, "r+b" if hosts.exists() else "xb", buffering=0) as file:
                file.write(f"127.0.0.1 localhost\n{address} app.moves.test\n".encode())

        def start(address, name):
            # Connections come to an end by themselves, and new ones are made to the address of the day.
            server = f"keepalive_requests 20; server {{ listen {address}:{port}; location / {{ return 200 '{name}'; }} }}"
            return start_nginx(self, folder.path, server, port, name, address)

        name_stands_for("127.0.0.2")
        old = start("127.0.0.2", "old")
        gateway = Gateway(
            folder.path, f'[[routes]]\npath = "/"\naccess = "public"\nupstream = ["http://app.moves.test:{port}"]\n', users=()
        )
        (folder.path / "users.toml").touch(mode=0o600)
        self.addCleanup(gateway.stop)
        # A table of hosts of its own, for the gateway alone.
        mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
        gateway.start(wrap=["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", mount, hosts])
        with Load(gateway.port) as load:
            load.wait_for("old")
            start("127.0.0.3", "new")
            name_stands_for("127.0.0.3")
            load.wait_for("new", 200)

            load.wait_for_rest("old")
            old.stop()
            load.wait_for("new", 200)
        self.assertEqual(load.wrong, [])


class Ways(unittest.TestCase):
    """The ways to an upstream: unix socket, TLS with our own authority and a client's certificate, HTTP/2."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        cls.authority, cls.other = Authority(path), Authority(path, "other")
        cls.authority.sign("server", "127.0.0.1", "backend.test")
        cls.authority.sign("client", "gateway.test", client=True)
        cls.other.sign("stranger", "gateway.test", client=True)
        certificate, key = cls.authority.paths("server")
        tls, mutual, named, h2c = (free_port() for _ in range(4))
        start_nginx(
            cls,
            path,
            f"""
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  ssl_client_certificate {cls.authority.file};
  server {{
    listen 127.0.0.1:{tls} ssl http2;
    location / {{ return 200 '$server_protocol $ssl_server_name'; }}
  }}
  server {{
    listen 127.0.0.1:{mutual} ssl;
    ssl_verify_client on;
    location / {{ return 200 '$server_protocol $ssl_client_s_dn'; }}
  }}
  server {{
    listen 127.0.0.1:{named} ssl;
    server_name backend.test;
    location / {{ return 200 '$ssl_server_name $host'; }}
  }}
  server {{
    listen 127.0.0.1:{h2c} http2;
    location / {{ return 200 '$server_protocol'; }}
    location /large {{ alias {path}/large; }}
  }}""",
            tls,
        )
        (path / "large").write_bytes(os.urandom(4 << 20))
        socket = path / "app.sock"
        log = path / "gunicorn.log"
        app = Process(
            [VENV / "bin/gunicorn", "--bind", f"unix:{socket}", "--threads", "2", "--chdir", HERE, "wsgi_app:app"], log
        )
        cls.addClassCleanup(app.stop)
        wait_until(socket.exists, "gunicorn", process=app.child, log=log)
        ca = f'ca = "{cls.authority.file}"'

        def pair(authority, file):
            certificate, key = authority.paths(file)
            return f'certificate = "{certificate}", key = "{key}"'

        def route(name, url, tls=""):
            given = f"upstream_tls = {{ {tls} }}\n" if tls else ""
            return f'[[routes]]\nhost = "{name}.test"\naccess = "public"\nupstream = ["{url}"]\n{given}\n'

        cls.gateway = Gateway(
            path,
            route("socket", f"unix:{socket}")
            + route("tls", f"https://127.0.0.1:{tls}", ca)
            + route("distrusted", f"https://127.0.0.1:{tls}", f'ca = "{cls.other.file}"')
            + route("roots", f"https://127.0.0.1:{tls}")
            + route("mutual", f"https://127.0.0.1:{mutual}", f"{ca}, {pair(cls.authority, 'client')}")
            + route("nobody", f"https://127.0.0.1:{mutual}", ca)
            + route("stranger", f"https://127.0.0.1:{mutual}", f"{ca}, {pair(cls.other, 'stranger')}")
            + route("named", f"https://127.0.0.1:{named}", f'{ca}, server_name = "backend.test"')
            + route("misnamed", f"https://127.0.0.1:{named}", f'{ca}, server_name = "elsewhere.test"')
            + route("h2c", f"h2c://127.0.0.1:{h2c}"),
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()

    def ask(self, name, path="/", fields=()):
        with Wire.to(self.gateway.port) as wire:
            lines = [f"GET {path} HTTP/1.1", f"Host: {name}.test", *fields, "", ""]
            head, body = wire.ask("\r\n".join(lines).encode())
        return head.status, body

    def test_a_unix_socket_leads_to_the_app(self):
        status, body = self.ask("socket", "/x?y=1")
        environ = json.loads(body)
        self.assertEqual((status, environ["PATH_INFO"], environ["HTTP_HOST"]), (200, "/x", "socket.test"))

    def test_tls_with_our_own_authority_is_spoken_and_http2_where_the_upstream_offers_it(self):
        status, body = self.ask("tls")
        self.assertEqual((status, body.split()[0]), (200, b"HTTP/2.0"))

    def test_an_upstream_whose_certificate_we_do_not_trust_is_502(self):
        for name in ("distrusted", "roots", "misnamed"):
            with self.subTest(name):
                self.assertEqual(self.ask(name)[0], 502)

    def test_our_client_certificate_is_shown(self):
        self.assertEqual(self.ask("mutual"), (200, b"HTTP/1.1 CN=gateway.test"))

    def test_without_a_certificate_that_it_trusts_the_upstream_refuses_us(self):
        for name in ("nobody", "stranger"):
            with self.subTest(name):
                status, body = self.ask(name)
                self.assertIn(status, (400, 502))
                self.assertNotIn(b"CN=", body)

    def test_the_name_in_the_handshake_can_be_given(self):
        self.assertEqual(self.ask("named"), (200, b"backend.test named.test"))

    def test_http2_by_prior_knowledge_is_spoken(self):
        self.assertEqual(self.ask("h2c"), (200, b"HTTP/2.0"))
        self.assertEqual(self.ask("h2c", "/large"), (200, (self.folder.path / "large").read_bytes()))

    def test_the_refused_certificate_is_named_in_the_log(self):
        self.ask("distrusted")
        log = self.folder.path / "gateway.log"
        wait_until(lambda: re.search(r"certificate|UnknownIssuer", log.read_text()), "a line about the certificate")
