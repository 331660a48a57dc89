"""Three users through one gateway while upstreams die every second and clients leave in mid-message: nobody ever gets a byte that was
meant for somebody else, and no upstream is told of another user than asked. FLUIDGATE_CHURN says for how many seconds (scripts/churn)."""

import os
import unittest

from churn import Churn, report
from churn_clients import Clients
from harness import Folder
from wire import Wire

SECONDS = int(os.environ.get("FLUIDGATE_CHURN", "8"))


class ChurnTest(unittest.TestCase):
    def test_nobody_gets_a_byte_of_somebody_else(self):
        folder = Folder()
        self.addCleanup(folder.remove)
        churn = Churn(self, folder.path)
        seen, wrong = churn.run(SECONDS)
        print("\n  " + report(seen, wrong, churn, SECONDS).replace("\n", "\n  "), flush=True)
        self.assertEqual(wrong[:5], [])
        for kind in ("h1: whole", "h1: cut", "tls: whole", "h2: whole", "h2: cancelled", "tunnel: joined", "tunnel by frames: joined"):
            self.assertGreater(seen[kind], 0, kind)
        for kind in ("h1: vanished within a body", "h1: vanished within an answer", "events: cut or left"):
            self.assertGreater(seen[kind], 0, kind)
        self.assertTrue(churn.still_serves())

    def test_the_judges_notice_what_is_of_somebody_else(self):
        folder = Folder()
        self.addCleanup(folder.remove)
        churn = Churn(self, folder.path)
        # Straight to an upstream, with the identity and the body of others.
        with Wire.to(churn.ports[0]) as wire:
            wire.ask(
                b"POST /h1/steady/alice.1 HTTP/1.1\r\nHost: a\r\nRemote-User: bob\r\nX-Marker: alice.1\r\nCookie: marker=alice.1\r\n"
                b"Content-Length: 15\r\n\r\nalice.1 alice.2"
            )
        said = churn.wrong.read_text()
        self.assertIn("Remote-User ['bob']", said)
        self.assertIn("held b'alice.1 alice.2'", said)
        clients = Clients(churn.gateway.port, churn.tls_port, churn.trust, churn.cookies, 0)
        clients.judge_body("alice.1", b"alice.1 alice.1 ali", "h1", "whole")
        clients.judge("alice", "alice.1", [("X-Marker", "alice.1"), ("Set-Cookie", "last=alice.1")], "h1")
        self.assertEqual(clients.wrong, [])
        clients.judge_body("alice.1", b"alice.1 alice.2", "h1", "whole")
        clients.judge("alice", "alice.1", [("X-Marker", "alice.2")], "h1")
        clients.judge("alice", "alice.1", [("Location", "/bob.1")], None)
        self.assertEqual(len(clients.wrong), 3)
