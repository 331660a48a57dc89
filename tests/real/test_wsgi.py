"""A WSGI app under gunicorn, set to fold `_` into `-` as CGI does: what it sees of us, of forgeries, and of cookies."""

import json
import pathlib
import unittest

from harness import VENV, Client, Folder, Gateway, Process, accepts, free_port, wait_until

HERE = pathlib.Path(__file__).resolve().parent
NAMES = [
    "Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups",
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
    "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
    "X-Fluidgate-Assertion",
]  # fmt: skip
IDENTITY = {"HTTP_" + name.upper().replace("-", "_") for name in NAMES}


def spellings(name):
    """`name` and its look-alikes: case, underscore, dot, and mixtures of them."""
    first, rest = name.split("-", 1)
    forms = {name, name.lower(), name.upper(), name.replace("-", "_"), name.lower().replace("-", "_")}
    forms |= {name.replace("-", "."), f"{first}_{rest}", f"{first}.{rest}", name.replace("-", "_").upper()}
    return sorted(forms)


class Wsgi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.app_port = free_port()
        log = cls.folder.path / "gunicorn.log"
        app = Process(
            [VENV / "bin/gunicorn", "--bind", f"127.0.0.1:{cls.app_port}", "--threads", "4", "--keep-alive", "5",
             "--header-map", "dangerous", "--chdir", HERE, "wsgi_app:app"],
            log,
        )  # fmt: skip
        cls.addClassCleanup(app.stop)
        wait_until(lambda: accepts(cls.app_port), "gunicorn", process=app.child, log=log)
        upstream = f'upstream = ["http://127.0.0.1:{cls.app_port}"]'
        cls.gateway = Gateway(
            cls.folder.path,
            f"""[[routes]]
path = "/"
{upstream}

[[routes]]
path = "/public"
{upstream}
access = "public"
""",
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client("alice")
        cls.nobody = cls.gateway.client()

    def seen(self, client, path, *extra, with_cookie=True):
        """The environment that the app saw for a request with these extra header lines."""
        answer, body = client.raw([b"GET %s HTTP/1.1" % path.encode(), *extra], with_cookie=with_cookie)
        self.assertEqual(answer.status, 200, f"{extra}: {body[:300]!r}")
        return json.loads(body)

    def test_the_oracle_works_this_server_folds_the_underscore(self):
        direct = Client(self.app_port)
        self.assertEqual(self.seen(direct, "/", b"remote_user: mallory").get("HTTP_REMOTE_USER"), "mallory")

    def test_the_app_sees_who_is_logged_in(self):
        environ = self.seen(self.alice, "/x?y=1")
        self.assertEqual(environ["HTTP_REMOTE_USER"], "alice")
        self.assertEqual(environ["HTTP_REMOTE_NAME"], "Alice")
        self.assertEqual(environ["HTTP_REMOTE_EMAIL"], "alice@example.com")
        self.assertEqual(set(environ["HTTP_REMOTE_GROUPS"].split(",")), {"staff", "readers"})
        self.assertEqual((environ["PATH_INFO"], environ["QUERY_STRING"]), ("/x", "y=1"))
        self.assertEqual(IDENTITY & environ.keys(), {f"HTTP_REMOTE_{part}" for part in ("USER", "NAME", "EMAIL", "GROUPS")})

    def test_no_spelling_of_an_identity_header_gets_through_alone(self):
        for name in NAMES:
            for spelling in spellings(name):
                forged = f"{spelling}: mallory".encode()
                with self.subTest(spelling):
                    for client, path in ((self.alice, "/"), (self.nobody, "/public")):
                        environ = self.seen(client, path, forged)
                        self.assertNotIn("mallory", environ.values())
                        self.assertEqual(environ.get("HTTP_REMOTE_USER"), "alice" if client is self.alice else None)

    def test_no_spelling_gets_through_together_doubled_or_nominated(self):
        lines = [f"{spelling}: mallory".encode() for name in NAMES[:4] for spelling in spellings(name)]
        nominated = b"Connection: close, " + ", ".join(NAMES[:4]).encode()
        for forged in (lines, lines[::-1], [lines[0], lines[0]], [nominated], [nominated, *lines]):
            with self.subTest(len(forged)):
                environ = self.seen(self.alice, "/", *forged)
                self.assertNotIn("mallory", ",".join(environ.values()))
                self.assertEqual(environ["HTTP_REMOTE_USER"], "alice")

    def test_an_anonymous_request_on_a_public_route_carries_no_identity(self):
        environ = self.seen(self.nobody, "/public/page")
        self.assertEqual(IDENTITY & environ.keys(), set())

    def test_an_anonymous_request_on_a_protected_route_does_not_arrive(self):
        answer, body = self.nobody.request("GET", "/", headers={"Accept": "application/json", "Sec-Fetch-Mode": "cors"})
        self.assertEqual(answer.status, 401)
        self.assertNotIn(b"PATH_INFO", body)
        answer, _ = self.nobody.request(
            "GET", "/deep?a=b", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        )
        self.assertEqual(answer.status, 303)
        self.assertTrue(answer.getheader("Location").startswith("/_auth/login"), answer.getheader("Location"))

    def test_our_cookie_never_arrives_and_every_other_one_does_byte_for_byte(self):
        ours = self.alice.cookie.encode()
        cases = [
            (b"%s", None),
            (b"%s; a=1", "a=1"),
            (b"a=1; %s", "a=1"),
            (b"a=1; %s; b=2", "a=1; b=2"),
            (b'q="quo ted"; %s; p=%%20%%3B; e=', 'q="quo ted"; p=%20%3B; e='),
            (b"fluidgate2=x; %s; xfluidgate=y", "fluidgate2=x; xfluidgate=y"),
            (b"%s; a=1; %s", "a=1"),
        ]
        for shape, rest in cases:
            with self.subTest(shape):
                sent = shape.replace(b"%s", ours).replace(b"%%", b"%")
                environ = self.seen(self.alice, "/", b"Cookie: " + sent, with_cookie=False)
                self.assertEqual(environ.get("HTTP_REMOTE_USER"), "alice")
                self.assertEqual(environ.get("HTTP_COOKIE"), rest)
                self.assertNotIn(ours.split(b"=", 1)[1].decode(), json.dumps(environ))

    def test_our_cookie_does_not_arrive_on_a_public_route_either(self):
        environ = self.seen(self.alice, "/public")
        self.assertNotIn("HTTP_COOKIE", environ)
