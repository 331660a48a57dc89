"""Other proxies before and behind the gateway: HAProxy with the PROXY protocol and with forwarding fields, nginx as a trusted proxy,
HAProxy as an upstream."""

import contextlib
import http.client
import json
import os
import pathlib
import socket
import unittest

import frames
from harness import MIB, VENV, Folder, Gateway, Process, accepts, free_port, wait_until
from peers import start_haproxy, start_nginx
from test_websocket import ACCEPT, SERVERS, handshake, server_frame
from wire import Wire, get

HERE = pathlib.Path(__file__).resolve().parent
# An address of loopback that no program here uses by itself: the client's.
CLIENT = "127.0.0.77"


class Rig(unittest.TestCase):
    @classmethod
    def start_app(cls):
        """The WSGI app that shows what it received; its port."""
        port, log = free_port(), cls.folder.path / "gunicorn.log"
        app = Process(
            [VENV / "bin/gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "8", "--keep-alive", "5", "--chdir", HERE, "wsgi_app:app"],
            log,
        )
        cls.addClassCleanup(app.stop)
        wait_until(lambda: accepts(port), "gunicorn", process=app.child, log=log)
        return port

    def seen(self, port, fields=(), path="/"):
        """What the app saw of a request from CLIENT to `port`."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(CLIENT, 0))
        with contextlib.closing(connection):
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", "app.test")
            for name, value in fields:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
        self.assertEqual(answer.status, 200, body[:300])
        return json.loads(body)


class Before(Rig):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        app = cls.start_app()
        cls.proxied = free_port()
        cls.gateway = Gateway(
            cls.folder.path,
            f'[[routes]]\npath = "/"\naccess = "public"\nupstream = ["http://127.0.0.1:{app}"]\n',
            # Programs here come from 127.0.0.1, clients from another address of loopback.
            server='trusted_proxies = ["127.0.0.1/32"]',
            listeners=[f'{{ address = "127.0.0.1:{cls.proxied}", proxy_protocol = true }}'],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.v1, cls.v2, cls.plain = free_port(), free_port(), free_port()
        start_haproxy(
            cls,
            cls.folder.path,
            f"""
frontend v1
  bind 127.0.0.1:{cls.v1}
  default_backend v1
frontend v2
  bind 127.0.0.1:{cls.v2}
  default_backend v2
frontend plain
  bind 127.0.0.1:{cls.plain}
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  default_backend plain
backend v1
  server gateway 127.0.0.1:{cls.proxied} send-proxy
backend v2
  server gateway 127.0.0.1:{cls.proxied} send-proxy-v2
backend plain
  server gateway 127.0.0.1:{cls.gateway.port}
""",
            cls.plain,
        )
        cls.nginx = free_port()
        start_nginx(
            cls,
            cls.folder.path,
            f"""server {{
    listen 127.0.0.1:{cls.nginx};
    location / {{
      proxy_pass http://127.0.0.1:{cls.gateway.port};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host front.test;
    }}
  }}""",
            cls.nginx,
        )

    def test_the_proxy_protocol_of_haproxy_tells_who_the_client_is(self):
        for name, port in (("1", self.v1), ("2", self.v2)):
            with self.subTest(version=name):
                environ = self.seen(port)
                self.assertEqual(environ["HTTP_X_FORWARDED_FOR"].split(",")[0].strip(), CLIENT)
                # What the client claims counts for nothing: the client itself is no trusted proxy.
                environ = self.seen(port, [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")])
                self.assertNotIn("203.0.113.9", environ["HTTP_X_FORWARDED_FOR"])
                self.assertEqual(environ["HTTP_X_FORWARDED_PROTO"], "http")

    def test_forwarding_fields_of_haproxy_are_believed(self):
        environ = self.seen(self.plain)
        self.assertEqual(environ["HTTP_X_FORWARDED_FOR"].replace(" ", "").split(",")[0], CLIENT)
        self.assertEqual(environ["HTTP_X_FORWARDED_PROTO"], "https")

    def test_forwarding_fields_of_nginx_are_believed(self):
        environ = self.seen(self.nginx)
        self.assertEqual(environ["HTTP_X_FORWARDED_FOR"].replace(" ", "").split(",")[0], CLIENT)
        self.assertEqual((environ["HTTP_X_FORWARDED_PROTO"], environ["HTTP_X_FORWARDED_HOST"]), ("https", "front.test"))

    def test_what_a_client_claims_behind_nginx_is_told_apart_from_what_nginx_says(self):
        environ = self.seen(self.nginx, [("X-Forwarded-For", "203.0.113.9")])
        # nginx appends, so the client's own word stands further left, and the real address is the last that nobody trusted named.
        chain = environ["HTTP_X_FORWARDED_FOR"].replace(" ", "").split(",")
        self.assertEqual(environ["HTTP_X_REAL_IP"], CLIENT)
        self.assertIn(CLIENT, chain)
        self.assertNotEqual(environ.get("REMOTE_ADDR"), "203.0.113.9")

    def test_a_client_that_is_no_proxy_is_not_believed(self):
        environ = self.seen(self.gateway.port, [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")])
        self.assertEqual((environ["HTTP_X_FORWARDED_FOR"], environ["HTTP_X_FORWARDED_PROTO"]), (CLIENT, "http"))

    def test_a_proxy_header_from_somebody_who_is_not_trusted_gets_no_answer(self):
        stream = socket.create_connection(("127.0.0.1", self.proxied), timeout=10, source_address=(CLIENT, 0))
        with Wire(stream) as wire:
            with contextlib.suppress(OSError):
                wire.send(b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" + get("/", self.proxied))
            with contextlib.suppress(ConnectionResetError):
                self.assertNotIn(b"203.0.113.9", wire.rest())

    def test_a_listener_for_the_proxy_protocol_serves_nobody_without_it(self):
        with Wire.to(self.proxied) as wire, contextlib.suppress(ConnectionResetError):
            wire.send(get("/", self.proxied))
            self.assertNotIn(b"200 OK", wire.rest())

    def test_other_listeners_take_a_proxy_header_for_nonsense(self):
        with Wire.to(self.gateway.port) as wire, contextlib.suppress(ConnectionResetError):
            wire.send(b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" + get("/", self.gateway.port))
            self.assertNotIn(b"200 OK", wire.rest())

    def test_a_login_through_each_of_them_is_a_session(self):
        for name, port in (("v1", self.v1), ("v2", self.v2), ("haproxy", self.plain), ("nginx", self.nginx)):
            with self.subTest(name):
                client = self.gateway.client()
                client.port = port
                cookie = client.log_in_at("app.test", "alice")
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                with contextlib.closing(connection):
                    connection.request("GET", "/_auth/whoami", headers={"Cookie": cookie, "Host": "app.test"})
                    answer = connection.getresponse()
                    self.assertEqual((answer.status, json.loads(answer.read())["user"]), (200, "alice"))


class Behind(Rig):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        app, echo, files = cls.start_app(), free_port(), free_port()
        log = path / "echo.log"
        process = Process(SERVERS["ws"](echo), log)
        cls.addClassCleanup(process.stop)
        wait_until(lambda: accepts(echo), "ws", process=process.child, log=log)
        (path / "www").mkdir()
        (path / "www/large.bin").write_bytes(os.urandom(32 * MIB))
        start_nginx(cls, path, f"server {{ listen 127.0.0.1:{files}; root {path}/www; location /up/ {{ dav_methods PUT; }} }}", files)
        (path / "www/up").mkdir()
        balancer = free_port()
        start_haproxy(
            cls,
            path,
            f"""
frontend all
  bind 127.0.0.1:{balancer}
  use_backend echo if {{ path_beg /echo }}
  use_backend files if {{ path_beg /large.bin /up/ }}
  http-request return status 429 content-type text/plain string "slow down" hdr Retry-After 7 if {{ path /limited }}
  http-request silent-drop if {{ path /dropped }}
  default_backend app
backend app
  option forwardfor
  server app 127.0.0.1:{app}
backend echo
  server echo 127.0.0.1:{echo}
backend files
  server files 127.0.0.1:{files}
""",
            balancer,
        )
        cls.gateway = Gateway(path, f'[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{balancer}"]\n')
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client("alice")

    def test_the_app_behind_haproxy_learns_who_asks(self):
        answer, body = self.alice.request("GET", "/x?y=1")
        environ = json.loads(body)
        self.assertEqual((answer.status, environ["HTTP_REMOTE_USER"], environ["PATH_INFO"]), (200, "alice", "/x"))
        self.assertEqual(environ["HTTP_X_FORWARDED_FOR"].split(",")[0], "127.0.0.1")

    def test_large_bodies_pass_both_ways(self):
        large = (self.folder.path / "www/large.bin").read_bytes()
        answer, body = self.alice.request("GET", "/large.bin")
        self.assertEqual((answer.status, body), (200, large))
        answer, _ = self.alice.request("PUT", "/up/one.bin", large)
        self.assertEqual(answer.status, 201)
        self.assertEqual((self.folder.path / "www/up/one.bin").read_bytes(), large)

    def test_answers_of_haproxy_itself_pass(self):
        answer, body = self.alice.request("GET", "/limited")
        self.assertEqual((answer.status, answer.getheader("Retry-After"), body), (429, "7", b"slow down"))

    def test_a_websocket_passes_through_both(self):
        with Wire.to(self.gateway.port) as wire:
            host = f"127.0.0.1:{self.gateway.port}"
            wire.send(handshake("/echo", host, f"Origin: http://{host}", f"Cookie: {self.alice.cookie}"))
            head, _ = wire.final_head()
            self.assertEqual((head.status, head.get("Sec-WebSocket-Accept")), (101, ACCEPT))
            wire.send(frames.frame(frames.TEXT, b"through two"))
            self.assertEqual(server_frame(wire)[2:], b"through two")

    def test_many_requests_share_few_connections(self):
        with Wire.to(self.gateway.port) as wire:
            for number in range(200):
                head, _ = wire.ask(get(f"/{number}", self.gateway.port, self.alice.cookie))
                self.assertEqual(head.status, 200)
