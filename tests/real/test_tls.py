"""TLS towards clients: which certificate, which version, which client; certificates that change under load; sockets handed over."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

from authority import Authority
from harness import BINARY, Folder, Gateway, Process, free_port, wait_until
from peers import program, start_nginx
from wire import Closed, Wire, get


def start_page(test, folder):
    """An nginx that answers every path; its port."""
    port = free_port()
    start_nginx(test, folder, f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 'page $http_x_forwarded_proto'; }} }}", port)
    return port


class Rig(unittest.TestCase):
    def trust(self, name=None, certificate=None):
        """A client's settings: trusts our authority, shows `certificate` if one is named."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def connect(self, port, name="one.test", context=None):
        """A TLS connection for the host `name`."""
        stream = socket.create_connection(("127.0.0.1", port), timeout=20)
        try:
            return Wire((context or self.trust()).wrap_socket(stream, server_hostname=name))
        except Exception:
            stream.close()
            raise

    def serial(self, port, name="one.test"):
        """The serial number of the certificate that is shown for `name`."""
        with self.connect(port, name) as wire:
            return wire.stream.getpeercert()["serialNumber"]

    def s_client(self, *argv):
        """What `openssl s_client` says of a handshake, whether it succeeds or not."""
        done = subprocess.run(
            [program("openssl"), "s_client", "-CAfile", self.authority.file, *map(str, argv)],
            input=b"", capture_output=True, timeout=30,
        )  # fmt: skip
        return (done.stdout + done.stderr).decode(errors="replace")


class Handshakes(Rig):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        cls.authority, cls.strangers = Authority(path), Authority(path, "strangers")
        cls.serials = {
            "one": cls.authority.sign("one", "one.test", "127.0.0.1"),
            "two": cls.authority.sign("two", "two.test", "also-two.test"),
            "wild": cls.authority.sign("wild", "*.wild.test"),
        }
        cls.authority.sign("alice", "alice.test", client=True)
        cls.strangers.sign("mallory", "mallory.test", client=True)
        page = start_page(cls, path)
        cls.route = f'[[routes]]\npath = "/"\naccess = "public"\nupstream = ["http://127.0.0.1:{page}"]\n'
        certificates = ", ".join(cls.authority.toml(name) for name in cls.serials)
        cls.port, cls.redirecting = free_port(), free_port()
        cls.gateway = Gateway(
            path,
            f'[tls]\ncertificates = [{certificates}]\nhsts = "365d"\n{cls.route}',
            listeners=[
                f'{{ address = "127.0.0.1:{cls.port}", tls = true }}',
                f'{{ address = "127.0.0.1:{cls.redirecting}", redirect_to_https = true }}',
            ],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()

    def another(self, tls):
        """A second gateway with these lines in `[tls]`; its TLS port."""
        folder, port = Folder(), free_port()
        self.addCleanup(folder.remove)
        gateway = Gateway(
            folder.path,
            f"[tls]\ncertificates = [{self.authority.toml('one')}]\n{tls}\n{self.route}",
            users=(),
            listeners=[f'{{ address = "127.0.0.1:{port}", tls = true }}'],
        )
        (folder.path / "users.toml").touch(mode=0o600)
        self.addCleanup(gateway.stop)
        gateway.start()
        return port

    def test_the_name_picks_the_certificate(self):
        for name, wanted in (
            ("one.test", "one"), ("two.test", "two"), ("also-two.test", "two"), ("a.wild.test", "wild"), ("TWO.test", "two")
        ):  # fmt: skip
            with self.subTest(name):
                self.assertEqual(self.serial(self.port, name), self.serials[wanted])

    def test_without_a_name_the_first_certificate_is_shown(self):
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.check_hostname = False
        for name in (None, "unknown.test"):
            with self.subTest(name), self.connect(self.port, name, context) as wire:
                self.assertEqual(wire.stream.getpeercert()["serialNumber"], self.serials["one"])

    def test_the_two_versions_are_spoken_and_no_older_one(self):
        for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            said = self.s_client("-connect", f"127.0.0.1:{self.port}", "-servername", "one.test", flag)
            self.assertIn(f"New, {version}", said)
            self.assertIn("Verify return code: 0", said)
        for flag in ("-tls1", "-tls1_1"):
            said = self.s_client("-connect", f"127.0.0.1:{self.port}", flag, "-cipher", "ALL:@SECLEVEL=0")
            self.assertIn("New, (NONE)", said)

    def test_the_least_version_can_be_raised(self):
        port = self.another('min_version = "1.3"')
        self.assertIn("New, TLSv1.3", self.s_client("-connect", f"127.0.0.1:{port}"))
        self.assertIn("New, (NONE)", self.s_client("-connect", f"127.0.0.1:{port}", "-tls1_2"))

    def test_a_session_is_resumed_by_its_ticket(self):
        for flag in ("-tls1_2", "-tls1_3"):
            with self.subTest(flag):
                ticket = self.folder.path / f"ticket{flag}"
                # A whole exchange: in TLS 1.3 the ticket comes behind the handshake.
                request = b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n"
                argv = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", "one.test", flag, "-ign_eof"]
                first = subprocess.run([*argv, "-sess_out", ticket], input=request, capture_output=True, timeout=30)
                self.assertIn(b"New, TLSv1", first.stdout)
                second = subprocess.run([*argv, "-sess_in", ticket], input=request, capture_output=True, timeout=30)
                self.assertIn(b"Reused, TLSv1", second.stdout)
                self.assertIn(b"page https", second.stdout)

    def test_http_is_led_to_https(self):
        for method, target in (("GET", "/a/b?c=d"), ("POST", "/form"), ("HEAD", "/")):
            with self.subTest(method), Wire.to(self.redirecting) as wire:
                head, _ = wire.ask(f"{method} {target} HTTP/1.1\r\nHost: one.test\r\nContent-Length: 0\r\n\r\n".encode())
                self.assertEqual(head.status, 308)
                self.assertRegex(head.get("Location"), rf"^https://one\.test(:\d+)?{re.escape(target)}$")
                self.assertIsNone(head.get("Strict-Transport-Security"), "it counts over TLS only")

    def test_over_tls_the_browser_is_told_to_stay_there(self):
        with self.connect(self.port) as wire:
            head, body = wire.ask(get("/", self.port))
        self.assertIn("max-age=31536000", head.get("Strict-Transport-Security") or "")
        self.assertEqual(body, b"page https")

    def test_plain_http_on_the_tls_listener_and_half_a_hello_cost_nothing(self):
        for sent in (b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n", b"\x16\x03\x01", os.urandom(300)):
            with Wire.to(self.port) as wire:
                wire.send(sent)
                wire.stream.shutdown(socket.SHUT_WR)
                self.assertTrue(wire.ended())
        self.assertEqual(self.serial(self.port), self.serials["one"])

    def test_a_required_client_certificate_is_asked_for_and_checked(self):
        port = self.another(f'client_ca = "{self.authority.file}"\nclient_certificates = "required"')
        good, bad = self.authority.paths("alice"), self.strangers.paths("mallory")
        with self.connect(port, context=self.trust(certificate=good)) as wire:
            self.assertEqual(wire.ask(get("/", port))[0].status, 200)
        for name, certificate in (("none", None), ("a stranger's", bad)):
            # In TLS 1.3 the refusal comes behind the client's part of the handshake.
            with self.subTest(name), self.assertRaises((ssl.SSLError, ConnectionError, Closed)):
                with self.connect(port, context=self.trust(certificate=certificate)) as wire:
                    wire.ask(get("/", port))

    def test_an_optional_client_certificate_may_be_missing_but_not_wrong(self):
        port = self.another(f'client_ca = "{self.authority.file}"\nclient_certificates = "optional"')
        for certificate in (None, self.authority.paths("alice")):
            with self.connect(port, context=self.trust(certificate=certificate)) as wire:
                self.assertEqual(wire.ask(get("/", port))[0].status, 200)
        with self.assertRaises((ssl.SSLError, ConnectionError, Closed)):
            with self.connect(port, context=self.trust(certificate=self.strangers.paths("mallory"))) as wire:
                wire.ask(get("/", port))


class Reload(Rig):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        path = self.folder.path
        self.authority = Authority(path)
        self.first = self.authority.sign("first", "one.test")
        self.live = [path / "live.pem", path / "live.key"]
        self.install("first")
        page = start_page(self, path)
        self.port = free_port()
        self.gateway = Gateway(
            path,
            f'[tls]\ncertificates = [{{ certificate = "live.pem", key = "live.key" }}]\n\n'
            f'[[routes]]\npath = "/"\naccess = "public"\nupstream = ["http://127.0.0.1:{page}"]\n',
            users=(),
            listeners=[f'{{ address = "127.0.0.1:{self.port}", tls = true }}'],
        )
        (path / "users.toml").touch(mode=0o600)
        self.addCleanup(self.gateway.stop)
        self.gateway.start()

    def install(self, file):
        """Puts a certificate and its key in place as programs that renew them do: a new file, and a rename."""
        for source, target in zip(self.authority.paths(file), self.live, strict=True):
            fresh = target.with_suffix(".new")
            shutil.copy(source, fresh)
            fresh.chmod(0o600)
            fresh.rename(target)

    def wait_for_serial(self, serial):
        wait_until(lambda: self.serial(self.port) == serial, f"the certificate {serial}", 30)

    def log(self):
        return (self.folder.path / "gateway.log").read_text()

    def test_certificates_change_under_load_and_nobody_notices(self):
        over, wrong, done = threading.Event(), [], [0]

        def visit(fresh):
            while not over.is_set():
                try:
                    with self.connect(self.port) as wire:
                        for _ in range(1 if fresh else 1_000_000):
                            if over.is_set():
                                break
                            head, _ = wire.ask(get("/", self.port))
                            if head.status != 200:
                                wrong.append(head.status)
                            done[0] += 1
                except (OSError, Closed) as error:
                    wrong.append(repr(error))

        visitors = [threading.Thread(target=visit, args=(number % 2 == 0,), daemon=True) for number in range(6)]
        with self.connect(self.port) as kept:
            for visitor in visitors:
                visitor.start()
            for number in range(3):
                serial = self.authority.sign(f"next-{number}", "one.test")
                self.install(f"next-{number}")
                self.wait_for_serial(serial)
            over.set()
            for visitor in visitors:
                visitor.join(30)
            self.assertEqual(wrong, [])
            # A connection from before the first change is still good.
            self.assertEqual(kept.ask(get("/", self.port))[0].status, 200)
        print(f"\n  three changes of certificate under {done[0]} requests, 0 failed", flush=True)

    def test_a_bad_certificate_keeps_the_old_one_and_is_told_of(self):
        other = Authority(self.folder.path, "other")
        other.sign("other", "one.test")
        for name, spoil in {
            "garbage": lambda: self.live[0].write_text("no certificate\n"),
            "empty": lambda: self.live[0].write_text(""),
            "another key": lambda: shutil.copy(other.paths("other")[1], self.live[1]),
            "gone": lambda: self.live[0].unlink(),
        }.items():
            with self.subTest(name):
                before = len(self.log())
                spoil()
                wait_until(lambda before=before: "live." in self.log()[before:], f"{name}: a line in the log", 30)
                self.assertEqual(self.serial(self.port), self.first)
                self.install("first")
        # And a good one is taken up afterwards.
        serial = self.authority.sign("good", "one.test")
        self.install("good")
        self.wait_for_serial(serial)

    def test_a_reload_by_hand_takes_it_up_too(self):
        serial = self.authority.sign("by-hand", "one.test")
        self.install("by-hand")
        subprocess.run(["kill", "-HUP", str(self.gateway.process.child.pid)], check=True)
        self.wait_for_serial(serial)


class Sockets(Rig):
    """Sockets that were opened by somebody else, as systemd does it."""

    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.page = start_page(self, self.folder.path)

    def configured(self, listen):
        gateway = Gateway(
            self.folder.path,
            f'[[routes]]\npath = "/"\naccess = "public"\nupstream = ["http://127.0.0.1:{self.page}"]\n',
            users=(),
        )
        (self.folder.path / "users.toml").touch(mode=0o600)
        text = gateway.config.read_text()
        gateway.config.write_text(re.sub(r"listen = \[.*\]", f"listen = [{listen}]", text, count=1))
        return gateway

    def handed_over(self, gateway, sockets):
        """Starts the gateway with these sockets as descriptors 3 and up; `sockets`: name → listener."""

        def in_child():
            # First out of the way, then into place: a source may be somebody's target.
            moved = [os.dup2(listener.fileno(), 40 + number) for number, listener in enumerate(sockets.values())]
            for number, descriptor in enumerate(moved):
                os.dup2(descriptor, 3 + number, inheritable=True)

        log = self.folder.path / "gateway.log"
        out = log.open("ab")
        self.addCleanup(out.close)
        script = 'export LISTEN_PID=$$; exec "$@"'
        names = ":".join(sockets)
        child = subprocess.Popen(
            ["sh", "-c", script, "sh", BINARY, "run", "-c", str(gateway.config)],
            env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names},
            preexec_fn=in_child, close_fds=False, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(self.end, child)
        wait_until(lambda: gateway.ask_management("/readyz")[0] == 200, "gateway", process=child, log=log)
        return child

    @staticmethod
    def end(child):
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(15)
        child.kill()
        child.wait()

    def test_sockets_are_taken_by_name_and_by_number(self):
        web, other = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.addCleanup(web.close)
        self.addCleanup(other.close)
        gateway = self.configured('"systemd:web", { address = "systemd:1" }')
        # A client that came before the gateway was there waits in the queue of the socket.
        early = Wire.to(web.getsockname()[1])
        self.addCleanup(early.close)
        early.send(get("/", 80))
        child = self.handed_over(gateway, {"web": web, "other": other})
        self.assertEqual(early.final_head()[0].status, 200)
        for listener in (web, other):
            with Wire.to(listener.getsockname()[1]) as wire:
                self.assertEqual(wire.ask(get("/", 80))[0].status, 200)
        child.terminate()
        self.assertEqual(child.wait(20), 0)

    def test_a_restart_on_a_handed_over_socket_refuses_no_connection(self):
        web = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.addCleanup(web.close)
        port, over, wrong, done = web.getsockname()[1], threading.Event(), [], [0]
        gateway = self.configured('"systemd:web"')
        child = self.handed_over(gateway, {"web": web})

        def visit():
            while not over.is_set():
                try:
                    with Wire.to(port, timeout=30) as wire:
                        wire.send(get("/", port, fields=("Connection: close",)))
                        done[0] += wire.final_head()[0].status == 200
                except (OSError, Closed) as error:
                    wrong.append(repr(error))

        visitors = [threading.Thread(target=visit, daemon=True) for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        for _ in range(3):
            before = done[0]
            wait_until(lambda before=before: done[0] > before + 50, "requests")
            child.terminate()
            self.assertEqual(child.wait(20), 0)
            child = self.handed_over(gateway, {"web": web})
        over.set()
        for visitor in visitors:
            visitor.join(30)
        print(f"\n  three restarts on one socket under {done[0]} requests: {len(wrong)} failed", flush=True)
        self.assertEqual(wrong, [])

    def test_systemd_socket_activate_starts_it_on_the_first_connection(self):
        port = free_port()
        gateway = self.configured('"systemd:web"')
        log = self.folder.path / "activate.log"
        process = Process(
            [program("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "--fdname=web", BINARY, "run", "-c", gateway.config], log
        )
        self.addCleanup(process.stop)
        wait_until(lambda: "Listening on" in log.read_text(), "systemd-socket-activate", process=process.child, log=log)
        with Wire.to(port) as wire:
            head, body = wire.ask(get("/", port))
        self.assertEqual((head.status, body), (200, b"page http"))
        self.assertEqual(process.stop(), 0)

    def test_a_socket_that_was_not_handed_over_is_a_clear_error(self):
        gateway = self.configured('"systemd:missing"')
        done = subprocess.run([BINARY, "run", "-c", str(gateway.config)], capture_output=True, text=True, timeout=20)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("systemd", done.stdout + done.stderr)

