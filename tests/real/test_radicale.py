"""Radicale, a calendar server that believes X-Remote-User: two users see two calendars, and nobody can be somebody else."""

import itertools
import os
import unittest

from harness import VENV, Client, Folder, Gateway, Process, accepts, free_port, wait_until

CALENDAR = b"""<?xml version="1.0" encoding="utf-8"?>
<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop>
<D:displayname>%s</D:displayname></D:prop></D:set></C:mkcalendar>"""
WHO_AM_I = b"""<?xml version="1.0" encoding="utf-8"?>
<D:propfind xmlns:D="DAV:"><D:prop><D:current-user-principal/></D:prop></D:propfind>"""
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//fluidgate//test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\n"
    "DTSTAMP:20260101T000000Z\r\nDTSTART:20260102T090000Z\r\nSUMMARY:{summary}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
SPELLINGS = [b"X-Remote-User", b"x-remote-user", b"x_remote_user", b"X.Remote.User", b"X_Remote-User", b"X-Remote_User"]


def principal(client, extra=(), with_cookie=True):
    """Status and body of the question whom Radicale takes this request for, with extra raw header lines."""
    head = [b"PROPFIND / HTTP/1.1", b"Depth: 0", b"Content-Type: application/xml", *extra]
    answer, body = client.raw(head, WHO_AM_I, with_cookie)
    return answer.status, body


class Radicale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.app_port = free_port()
        config = cls.folder.path / "radicale.ini"
        config.write_text(
            f"[server]\nhosts = 127.0.0.1:{cls.app_port}\n[auth]\ntype = http_x_remote_user\n"
            f"[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = {cls.folder.path}/collections\n"
        )
        log = cls.folder.path / "radicale.log"
        environment = {**os.environ, "RADICALE_CONFIG": ""}
        app = Process([VENV / "bin/python", "-m", "radicale", "--config", config], log, env=environment)
        cls.addClassCleanup(app.stop)
        wait_until(lambda: accepts(cls.app_port), "radicale", process=app.child, log=log)
        cls.gateway = Gateway(
            cls.folder.path,
            f"""[[routes]]
path = "/"
upstream = ["http://127.0.0.1:{cls.app_port}"]
headers = {{ user = "X-Remote-User" }}
""",
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client("alice")
        cls.bob = cls.gateway.client("bob")

    def assert_is(self, user, answer, forged):
        status, body = answer
        self.assertEqual(status, 207, f"{forged}: {status} {body[:300]!r}")
        self.assertIn(b"/%s/" % user, body, forged)
        self.assertNotIn(b"/mallory/", body, forged)
        self.assertNotIn(b"/bob/" if user == b"alice" else b"/alice/", body, forged)

    def test_the_oracle_works_radicale_itself_believes_whoever_asks_it_directly(self):
        direct = Client(self.app_port)
        for spelling in (b"X-Remote-User", b"X_Remote_User"):
            status, body = principal(direct, [spelling + b": mallory"])
            self.assertEqual(status, 207)
            self.assertIn(b"/mallory/", body, spelling)

    def test_two_users_see_two_calendars(self):
        for client, name in ((self.alice, "alice"), (self.bob, "bob")):
            made, body = client.request("MKCALENDAR", f"/{name}/work/", CALENDAR % name.encode())
            self.assertEqual(made.status, 201, body)
            event = EVENT.format(uid=f"one-{name}", summary=f"Secret of {name}")
            headers = {"Content-Type": "text/calendar"}
            put, body = client.request("PUT", f"/{name}/work/one.ics", event, headers)
            self.assertEqual(put.status, 201, body)
        for client, name, other in ((self.alice, "alice", "bob"), (self.bob, "bob", "alice")):
            read, body = client.request("GET", f"/{name}/work/one.ics")
            self.assertEqual(read.status, 200)
            self.assertIn(f"Secret of {name}".encode(), body)
            listed, body = client.request("PROPFIND", f"/{name}/work/", headers={"Depth": "1"})
            self.assertEqual(listed.status, 207)
            self.assertIn(f"/{name}/work/one.ics".encode(), body)
            for method, path in (("GET", f"/{other}/work/one.ics"), ("PROPFIND", f"/{other}/work/")):
                refused, body = client.request(method, path, headers={"Depth": "1"})
                self.assertIn(refused.status, (403, 404), f"{name} {method} {path}")
                self.assertNotIn(f"Secret of {other}".encode(), body)
            stolen, _ = client.request("PUT", f"/{other}/work/two.ics", EVENT.format(uid="two", summary="x"))
            self.assertIn(stolen.status, (401, 403, 404, 409))

    def test_a_forged_header_in_any_spelling_changes_nothing(self):
        for spelling in SPELLINGS:
            with self.subTest(spelling):
                forged = [spelling + b": bob"]
                self.assert_is(b"alice", principal(self.alice, forged), forged)

    def test_forged_headers_together_and_doubled_change_nothing(self):
        for first, second in itertools.combinations_with_replacement(SPELLINGS, 2):
            with self.subTest(first + b" + " + second):
                forged = [first + b": bob", second + b": bob"]
                self.assert_is(b"alice", principal(self.alice, forged), forged)
        forged = [spelling + b": bob" for spelling in SPELLINGS * 2]
        self.assert_is(b"alice", principal(self.alice, forged), forged)

    def test_the_connection_header_cannot_nominate_our_header_away_or_a_forged_one_in(self):
        for spelling in SPELLINGS:
            for forged in (
                [b"Connection: close, " + spelling],
                [b"Connection: close, " + spelling, spelling + b": bob"],
                [spelling + b": bob", b"Connection: close", b"Connection: " + spelling],
            ):
                with self.subTest(forged):
                    self.assert_is(b"alice", principal(self.alice, forged), forged)

    def test_a_forged_header_without_a_session_does_not_log_in(self):
        for spelling in SPELLINGS:
            with self.subTest(spelling):
                status, body = principal(self.alice, [spelling + b": bob"], with_cookie=False)
                self.assertIn(status, (303, 401))
                self.assertNotIn(b"multistatus", body)
