"""More connections than there may be, and no file descriptors left: refused at once, others served, no spin, one line in the log,
and all well again as soon as the flood has gone."""

import contextlib
import signal
import socket
import time
import unittest

from harness import PASSWORDS, Client, Folder, wait_until
from http2 import Http2
from siege import HONEST, Limits, Site, close_all
from test_websocket import handshake
from wire import Wire, get

SOURCES = [f"127.0.1.{number}" for number in range(1, 40)]


def dial(port, source):
    stream = socket.socket()
    stream.settimeout(10)
    stream.bind((source, 0))
    stream.connect(("127.0.0.1", port))
    return stream


class Rig(unittest.TestCase):
    server, wrap = "workers = 2\n", ()
    limits = Limits(handshake=2, tunnel=600)

    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.site = Site(self, self.folder.path, self.limits, server=self.server, wrap=self.wrap)
        self.port = self.site.gateway.port
        self.asked = get("/own", self.port)

    def log(self):
        return self.site.gateway.process.log.read_text(errors="replace").splitlines()

    def open(self, count, source, port=None):
        streams = [dial(port or self.port, source) for _ in range(count)]
        self.addCleanup(close_all, streams)
        return streams

    def is_served(self, source=HONEST, seconds=5):
        """Whether a new client from `source` gets an answer."""
        with contextlib.suppress(OSError, IndexError, AssertionError), dial(self.port, source) as stream:
            stream.settimeout(seconds)
            stream.sendall(self.asked)
            return stream.recv(4096).startswith(b"HTTP/1.1 200")
        return False

    def served_within(self, seconds, source=HONEST):
        began = time.monotonic()
        wait_until(lambda: self.is_served(source), f"service for {source}", seconds)
        return time.monotonic() - began

    def refused(self, source, port=None):
        """Seconds until a new connection from `source` has been refused."""
        began = time.monotonic()
        with contextlib.suppress(ConnectionError), dial(port or self.port, source) as stream:
            self.assertEqual(stream.recv(1), b"", "a connection beyond the cap was served")
        return time.monotonic() - began


class Caps(Rig):
    server = "workers = 2\nmax_connections = 60\nmax_connections_per_source = 20\n"

    def test_a_source_that_has_all_it_may_have_is_refused_at_once_and_others_are_not(self):
        kept = Wire(self.open(1, HONEST)[0])
        self.open(20, SOURCES[0])
        wait_until(lambda: len(self.site.held()) == 21, "20 connections and one")
        slowest = max(self.refused(SOURCES[0]) for _ in range(200))
        self.assertLess(slowest, 1)
        for _ in range(20):
            self.assertTrue(self.is_served())
            self.assertEqual(kept.ask(self.asked)[0].status, 200, "a connection that was there before")
        said = [line for line in self.log() if "beyond server.max_connections" in line]
        self.assertLessEqual(len(said), 2 * 10, "a line for each refused connection")
        refused = self.site.gateway.ask_management("/metrics")[1].decode()
        self.assertRegex(refused, r"connections_refused_total\{[^}]*\} 200")

    def test_all_together_have_a_cap_and_those_who_are_in_go_on(self):
        kept = Wire(self.open(1, HONEST)[0])
        self.assertEqual(kept.ask(self.asked)[0].status, 200)
        streams = [stream for source in SOURCES[:4] for stream in self.open(15, source)][:59]
        wait_until(lambda: len(self.site.held()) == 60, "60 connections")
        self.assertLess(max(self.refused(source) for source in SOURCES), 1)
        self.assertEqual(kept.ask(self.asked)[0].status, 200)
        close_all(streams)
        self.assertLess(self.served_within(5), 5)

    def test_places_come_back_however_a_connection_ends(self):
        def abort(streams):
            for stream in streams:
                Wire(stream).abort()

        def requests(streams):
            for stream in streams:
                stream.sendall(f"GET /own HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n".encode())
                while stream.recv(4096):
                    pass

        def nonsense(streams):
            for stream in streams:
                stream.sendall(b"\0\1\2\3\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    while stream.recv(4096):
                        pass

        def uploads(streams):
            for stream in streams:
                stream.sendall(b"PUT /up/x HTTP/1.1\r\nHost: front.test\r\nContent-Length: 9000000\r\n\r\nhalf")
            abort(streams)

        def downloads(streams):
            for stream in streams:
                stream.sendall(b"GET /large.bin HTTP/1.1\r\nHost: front.test\r\n\r\n")
                stream.recv(4096)
            abort(streams)

        def tunnels(streams):
            for stream in streams:
                stream.sendall(handshake("/sockets/flood", "front.test"))
                self.assertIn(b"101", Wire(stream).head().first)
            abort(streams)

        ends = {"closed": close_all, "reset": abort, "answered": requests, "refused": nonsense, "in a body": uploads,
                "in an answer": downloads, "tunnels": tunnels}  # fmt: skip
        for name, end in ends.items():
            with self.subTest(name):
                end(self.open(20, SOURCES[0]))
                wait_until(lambda: not self.site.held(), "the end of all", 10)
                for stream in self.open(20, SOURCES[0]):
                    stream.sendall(self.asked)
                    self.assertTrue(stream.recv(4096).startswith(b"HTTP/1.1 200"), "its place did not come back")
                    stream.close()
                wait_until(lambda: not self.site.held(), "the end of all", 10)

    def test_half_open_handshakes_count_and_give_their_places_back(self):
        self.open(20, SOURCES[0], self.site.tls)
        wait_until(lambda: len(self.site.held()) == 20, "20 connections")
        self.assertLess(self.refused(SOURCES[0]), 1)
        # After the deadline of a handshake.
        self.served_within(self.limits.handshake + 5, SOURCES[0])

    def test_http2_connections_give_their_places_back(self):
        def own(number):
            client = Http2(self.site.h2c)
            self.addCleanup(client.close)
            client.request("front.test", "/own")
            return client

        clients = [own(number) for number in range(20)]
        for client in clients:
            self.assertEqual(client.answer(1)[0], 200)
        self.assertLess(self.refused("127.0.0.1"), 1)
        for number, client in enumerate(clients):
            Wire(client.stream).abort() if number % 2 else client.close()
        self.served_within(5, "127.0.0.1")


class Descriptors(Rig):
    """A gateway that may have 80 files open."""

    wrap = ("prlimit", "--nofile=80:80")
    server = "workers = 2\n"

    def exhaust(self):
        """Takes all the descriptors, and leaves more connections waiting."""
        streams = self.open(120, SOURCES[0])
        wait_until(lambda: any("cannot accept" in line for line in self.log()), "the end of the descriptors", 10)
        return streams

    def complaints(self):
        return [line for line in self.log() if "cannot accept" in line]

    def test_it_waits_without_spinning_and_recovers_when_the_flood_has_gone(self):
        kept = Wire(self.open(1, HONEST)[0])
        self.assertEqual(kept.ask(self.asked)[0].status, 200)
        streams = self.exhaust()
        used, began = self.site.processor_seconds(), time.monotonic()
        while time.monotonic() - began < 2:
            self.assertEqual(kept.ask(self.asked)[0].status, 200, "a client that was there before")
            time.sleep(0.1)
        used = self.site.processor_seconds() - used
        self.assertLess(used, 0.5, "processor seconds in two seconds of waiting")
        # A line for each listening worker, at most.
        self.assertLessEqual(len(self.complaints()), 4, "\n".join(self.complaints()))
        close_all(streams)
        took = self.served_within(5)
        print(f"\n  descriptors exhausted: {used:.2f} s of processor in 2 s, served {took:.2f} s after the end", flush=True)

    def test_connections_that_come_and_go_at_the_limit_do_not_flood_the_log(self):
        streams = self.exhaust()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            # Each round frees some and takes more: accepting works and fails in turn.
            for _ in range(20):
                streams.pop(0).close()
            streams += self.open(20, SOURCES[0])
            time.sleep(0.05)
        self.assertLessEqual(len(self.complaints()), 8, "\n".join(self.complaints()[:20]))
        close_all(streams)
        self.served_within(5)

    def test_an_upstream_that_cannot_be_connected_to_for_want_of_descriptors_is_well_again_at_once(self):
        cookie = self.site.cookie
        kept = [Wire(stream) for stream in self.open(8, HONEST)]
        for wire in kept:
            self.assertEqual(wire.ask(self.asked)[0].status, 200)
        # Idle connections to the upstream would serve the requests below.
        self.site.nginx.stop()
        streams = self.exhaust()
        self.site.start_app(self)
        statuses = [wire.ask(get("/private/index.html", self.port, cookie=cookie))[0].status for wire in kept]
        self.assertLessEqual(set(statuses), {200, 502, 503}, statuses)
        self.assertIn(502, statuses)
        close_all(streams)

        def answered():
            return kept[0].ask(get("/private/index.html", self.port, cookie=cookie))[0].status == 200

        wait_until(answered, "the upstream", 5)
        self.assertTrue(all(wire.ask(get("/index.html", self.port))[0].status == 200 for wire in kept))

    def test_what_is_changed_meanwhile_is_taken_up_afterwards(self):
        gateway = self.site.gateway
        kept = Wire(self.open(1, HONEST)[0])
        self.assertEqual(kept.ask(self.asked)[0].status, 200)
        streams = self.exhaust()
        PASSWORDS["carol"] = "carol-amber-window-thistle-19"
        self.addCleanup(PASSWORDS.pop, "carol")
        gateway.add_user("carol")
        self.site.authority.sign("front", "127.0.0.1", "front.test", "renewed.test")
        gateway.process.child.send_signal(signal.SIGHUP)
        # Longer than the pause between two looks at the files.
        time.sleep(3)
        whoami = get("/_auth/whoami", self.port, cookie=self.site.cookie)
        self.assertEqual(kept.ask(whoami)[0].status, 200, "a session ended because a file could not be read")
        self.assertLess(len(self.log()), 40, "\n".join(self.log()))
        close_all(streams)
        self.served_within(5)

        # Asked for without a login: those that fail are throttled.
        wait_until(lambda: b"\nfluidgate_users 3\n" in gateway.ask_management("/metrics")[1], "the new user", 5)
        Client(self.port).log_in("carol", PASSWORDS["carol"])
        self.site.context.check_hostname = True

        def renewed():
            with contextlib.suppress(OSError), dial(self.site.tls, HONEST) as stream:
                with self.site.context.wrap_socket(stream, server_hostname="renewed.test"):
                    return True

        wait_until(renewed, "the new certificate", 5)
