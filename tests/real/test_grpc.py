"""gRPC end to end, both ends on grpcio: every kind of call, over TLS and by prior knowledge, to upstreams by prior knowledge and by
TLS."""

import functools
import itertools
import pathlib
import threading
import time
import unittest

import grpc

from authority import Authority
from harness import MIB, VENV, Folder, Gateway, Process, accepts, free_port, wait_until
from grpc_server import UNBOUNDED

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 20
# Names of calls in the logs of the servers.
CALLS = itertools.count()


def start_grpc(test, folder, name, *more):
    """A grpcio server; its port and its log."""
    port, log = free_port(), folder / f"grpc-{name}.log"
    process = Process([VENV / "bin/python", HERE / "grpc_server.py", port, *more], log)
    test.addClassCleanup(process.stop)
    wait_until(lambda: accepts(port), f"grpc {name}", process=process.child, log=log)
    return port, log


def each_pairing(test):
    """Runs a test for each pairing of the two sides, as a sub-test with the host name of the upstream and the channel."""

    @functools.wraps(test)
    def run(self):
        for name, channel in self.channels.items():
            with self.subTest(name):
                test(self, name.split()[-1], channel)

    return run


class Grpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        cls.authority = Authority(path)
        cls.authority.sign("front", "127.0.0.1", "plain.test", "secure.test", "dead.test")
        cls.authority.sign("back", "127.0.0.1")
        cls.plain, plain_log = start_grpc(cls, path, "plain")
        cls.secure, secure_log = start_grpc(cls, path, "secure", *cls.authority.paths("back"))
        cls.logs = {"plain.test": plain_log, "secure.test": secure_log}
        cls.tls_port, cls.h2c_port = free_port(), free_port()
        cls.gateway = Gateway(
            path,
            f"""[tls]
certificates = [{cls.authority.toml("front")}]

[[routes]]
host = "plain.test"
upstream = ["h2c://127.0.0.1:{cls.plain}"]

[[routes]]
host = "secure.test"
upstream = ["https://127.0.0.1:{cls.secure}"]
upstream_tls = {{ ca = "{cls.authority.file}" }}

[[routes]]
host = "dead.test"
upstream = ["h2c://127.0.0.1:{free_port()}"]
""",
            listeners=[
                f'{{ address = "127.0.0.1:{cls.tls_port}", tls = true }}',
                f'{{ address = "127.0.0.1:{cls.h2c_port}", h2c = true }}',
            ],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.cookie = cls.gateway.client().log_in_at("plain.test", "alice")
        cls.channels = {
            f"{down} to {host}": cls.channel(down, host) for down in ("tls", "h2c") for host in ("plain.test", "secure.test")
        }

    @classmethod
    def channel(cls, down, host):
        options = [*UNBOUNDED, ("grpc.default_authority", host)]
        if down == "h2c":
            channel = grpc.insecure_channel(f"127.0.0.1:{cls.h2c_port}", options)
        else:
            trust = grpc.ssl_channel_credentials(cls.authority.file.read_bytes())
            options.append(("grpc.ssl_target_name_override", host))
            channel = grpc.secure_channel(f"127.0.0.1:{cls.tls_port}", trust, options)
        cls.addClassCleanup(channel.close)
        return channel

    def call(self, channel, method, argument, timeout=PATIENCE, more=(), cookie=True, **options):
        """Calls `method`; the kind of call follows from the kind of method."""
        kind = {"Count": "unary_stream", "CountAndFail": "unary_stream", "Tick": "unary_stream", "Total": "stream_unary",
                "Talk": "stream_stream"}.get(method, "unary_unary")  # fmt: skip
        metadata = [*more, *([("cookie", self.cookie)] if cookie else [])]
        function = getattr(channel, kind)(f"/test.Peer/{method}")
        if kind.endswith("unary"):
            return function.with_call(argument, timeout=timeout, metadata=metadata, **options)
        return function(argument, timeout=timeout, metadata=metadata, **options)

    @each_pairing
    def test_a_unary_call_comes_back_with_its_metadata_and_the_users_name(self, _, channel):
        answer, call = self.call(channel, "Echo", b"hello", more=[("x-bytes-bin", bytes(range(256)))])
        self.assertEqual((answer, call.code()), (b"hello", grpc.StatusCode.OK))
        trailers = dict(call.trailing_metadata())
        self.assertEqual(trailers["x-user"], "alice")
        self.assertEqual(trailers["x-bytes-bin"], bytes(range(256)))
        self.assertEqual(dict(call.initial_metadata())["x-initial"], "first")

    @each_pairing
    def test_every_status_arrives_in_the_trailers_with_its_message(self, _, channel):
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            with self.assertRaises(grpc.RpcError) as caught:
                self.call(channel, "Fail", code.name.encode())
            self.assertEqual((caught.exception.code(), caught.exception.details()), (code, "why: 100 % – naïve"))
            self.assertEqual(dict(caught.exception.trailing_metadata())["x-why"], "asked to")

    @each_pairing
    def test_an_unknown_method_is_unimplemented(self, _, channel):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(channel, "Nothing", b"")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    @each_pairing
    def test_a_server_stream_arrives_whole_and_in_order(self, _, channel):
        call = self.call(channel, "Count", b"2000")
        self.assertEqual([int(message) for message in call], list(range(2000)))
        self.assertEqual(dict(call.trailing_metadata())["x-count"], "2000")
        empty = self.call(channel, "Count", b"0")
        self.assertEqual((list(empty), empty.code()), ([], grpc.StatusCode.OK))

    @each_pairing
    def test_a_server_stream_that_fails_gives_what_came_and_then_the_status(self, _, channel):
        came = []
        with self.assertRaises(grpc.RpcError) as caught:
            for message in self.call(channel, "CountAndFail", b"5"):
                came.append(int(message))
        self.assertEqual((came, caught.exception.code()), (list(range(5)), grpc.StatusCode.DATA_LOSS))

    @each_pairing
    def test_a_client_stream_arrives_whole(self, _, channel):
        answer, _ = self.call(channel, "Total", (b"x" * size for size in range(1000)))
        self.assertEqual(answer, b"1000 %d" % sum(range(1000)))
        self.assertEqual(self.call(channel, "Total", iter(()))[0], b"0 0")

    @each_pairing
    def test_both_sides_can_talk_in_turns(self, _, channel):
        said, heard = threading.Semaphore(0), []

        def speak(said=said):
            for number in range(200):
                # The next word only once the answer to the one before has come.
                said.acquire()
                yield b"%d" % number

        said.release()
        for answer in self.call(channel, "Talk", speak()):
            heard.append(answer)
            said.release()
        self.assertEqual(heard, [b"re: %d" % number for number in range(200)])

    @each_pairing
    def test_messages_of_16_mebibytes_pass_both_ways(self, _, channel):
        message = bytes(range(256)) * (16 * MIB // 256)
        self.assertEqual(self.call(channel, "Echo", message)[0], message)
        self.assertEqual(next(self.call(channel, "Talk", iter([message]))), b"re: " + message)

    @each_pairing
    def test_compressed_messages_pass(self, _, channel):
        answer, _ = self.call(channel, "Echo", b"again and " * 9999, compression=grpc.Compression.Gzip)
        self.assertEqual(answer, b"again and " * 9999)

    def wait_for(self, host, line):
        wait_until(lambda: any(said.startswith(line) for said in self.logs[host].read_text().splitlines()), f"{host}: {line}")

    @each_pairing
    def test_a_deadline_ends_the_call_at_both_ends(self, host, channel):
        call = f"call-{next(CALLS)}"
        began = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(channel, "Sleep", call.encode(), timeout=0.5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - began, 3)
        # The server was told of the deadline, so it stops by itself too.
        self.wait_for(host, f"began {call} 0.")
        self.wait_for(host, f"ended {call}")

    @each_pairing
    def test_a_cancelled_call_ends_at_the_server(self, host, channel):
        name, function = f"call-{next(CALLS)}", channel.unary_unary("/test.Peer/Sleep")
        call = function.future(name.encode(), timeout=60, metadata=[("cookie", self.cookie)])
        self.wait_for(host, f"began {name}")
        call.cancel()
        self.wait_for(host, f"ended {name}")

    @each_pairing
    def test_many_calls_share_a_connection(self, _, channel):
        function = channel.unary_unary("/test.Peer/Echo")
        calls = [
            function.future(b"%d" % number * 1000, timeout=PATIENCE, metadata=[("cookie", self.cookie)]) for number in range(300)
        ]
        for number, call in enumerate(calls):
            self.assertEqual(call.result(), b"%d" % number * 1000)

    @each_pairing
    def test_a_call_without_a_session_is_unauthenticated_and_does_not_arrive(self, host, channel):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(channel, "Sleep", b"stranger", cookie=False)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertNotIn("began stranger", self.logs[host].read_text())

    @each_pairing
    def test_a_forged_name_does_not_arrive(self, _, channel):
        _, call = self.call(channel, "Echo", b"", more=[("remote-user", "mallory"), ("remote_user", "mallory")])
        self.assertEqual(dict(call.trailing_metadata())["x-user"], "alice")

    def test_an_upstream_that_is_not_there_is_unavailable(self):
        for down in ("tls", "h2c"):
            with self.subTest(down), self.assertRaises(grpc.RpcError) as caught:
                self.call(self.channel(down, "dead.test"), "Echo", b"")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    @each_pairing
    def test_a_stream_ends_when_the_client_leaves(self, _, channel):
        call = self.call(channel, "Tick", b"x", timeout=60)
        self.assertEqual([next(call) for _ in range(3)], [b"x"] * 3)
        call.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in range(1000):
                next(call)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)
