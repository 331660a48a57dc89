"""Puts the same six cases to express-session, tower-sessions and fluidgate, and writes down what it saw.

Every word of the table comes from an answer of a running program. A case that cannot be put to one says why.
Writes docs/comparison-sessions.md. Takes about three minutes when everything is built.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/real"))

import harness  # noqa: E402

ROOT = harness.ROOT
PAGE = ROOT / "docs/comparison-sessions.md"
EXPRESS = ROOT / "target/comparison/express"
TOWER = ROOT / "target/comparison/debug/comparison-tower"
LONG, SHORT = 3600, 2
ROUNDS = 10
GARBAGE = [
    "", "x", "=", ";;;", '"', '"quoted"', "%", "%zz", "%00", "s:", "s:x.y", "s%3Ax.y", "j:{", "v1.", "v1...", "a" * 4000, "A" * 43,
    "../../etc/passwd", "{}", "\x80\xff", "\xe2\x98\x83", "AAAAAAAAAAAAAAAAAAAAAA", "-1", "9" * 60, "v1.AAAAAAAA." + "A" * 43 + "." + "B" * 43,
]  # fmt: skip


class Inapplicable(Exception):
    """Why a case cannot be put to a contestant."""


class Contestant:
    """One program: how it is started, where things are, what its session cookie is called."""

    whoami, cookie_name = "/whoami", None
    persistent = True

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.port = harness.free_port()
        self.process = None

    def start(self, seconds=LONG):
        self.launch(seconds)
        harness.wait_until(lambda: harness.accepts(self.port), self.name, process=self.process.child, log=self.process.log)
        return self

    def run(self, argv, **options):
        self.process = harness.Process(argv, self.folder / "log", **options)

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def kill(self):
        os.killpg(self.process.child.pid, signal.SIGKILL)
        self.process.child.wait()
        self.process = None

    def ask(self, path, cookie=None, method="GET", body=None, headers=None, timeout=20):
        """Status, body and the session cookie that was set, if any."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            sent = dict(headers or {})
            if cookie is not None:
                sent["Cookie"] = cookie.encode("latin-1")
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            given = [value.split(";")[0] for value in answer.headers.get_all("Set-Cookie") or []]
            return answer.status, answer.read().decode(errors="replace"), next((value for value in given if value.split("=")[1]), None)

    def log_in(self):
        status, body, cookie = self.ask("/login")
        assert status == 200 and cookie, f"{self.name}: login answers {status} {body}"
        self.cookie_name = cookie.split("=")[0]
        return cookie

    def log_out(self, cookie):
        status, body, _ = self.ask("/logout", cookie)
        assert status == 200, f"{self.name}: logout answers {status} {body}"

    def is_in(self, cookie):
        """Whether the cookie opens a session; an answer that is neither yes nor no is given as its status."""
        status = self.ask(self.whoami, cookie)[0]
        return {200: True, 401: False}.get(status, status)

    def waiting(self):
        return int(self.ask("/waiting")[1])

    def go(self):
        self.ask("/go")

    def slow(self, cookie, query):
        """A request that holds the session and waits; ends when `go` was called."""
        seen = self.waiting()
        thread = threading.Thread(target=self.ask, args=(f"/set?{query}", cookie))
        thread.start()
        harness.wait_until(lambda: self.waiting() > seen, "a request that waits")
        return thread

    def corrupt(self):
        """Damages every stored record of the stopped program; gives how many."""
        raise Inapplicable("it has no records: sessions are in memory only")


class Express(Contestant):
    def __init__(self, folder, kind):
        super().__init__(folder)
        self.kind, self.persistent = kind, kind == "file"
        version = lambda name: json.loads((EXPRESS / f"node_modules/{name}/package.json").read_text())["version"]  # noqa: E731
        store = f"session-file-store {version('session-file-store')}" if self.persistent else "its memory store"
        self.name = f"express-session {version('express-session')}, {store}"

    def launch(self, seconds):
        self.run(["node", EXPRESS / "app.js", self.kind, self.port, seconds, self.folder / "store"])

    def corrupt(self):
        if not self.persistent:
            return super().corrupt()
        records = list((self.folder / "store").glob("*.json"))
        for record in records:
            text = record.read_bytes()
            record.write_bytes(b"\xc1" + text[: len(text) // 2])
        return len(records)


class Tower(Contestant):
    def __init__(self, folder, kind):
        super().__init__(folder)
        self.kind, self.persistent = kind, kind == "sled"
        self.name = "tower-sessions 0.14.0, tower-sessions-sled-store 0.2.0" if self.persistent else "tower-sessions 0.15.0, its memory store"

    def launch(self, seconds):
        self.run([TOWER, self.kind, self.port, seconds, *([self.folder / "store"] if self.persistent else [])])

    def corrupt(self):
        if not self.persistent:
            return super().corrupt()
        return damage_sled(self.folder / "store")


class Fluidgate(Contestant):
    """The gateway stands before an application that can hold its answers; the session is the gateway's."""

    name, whoami = "fluidgate, its sled store", "/_auth/whoami"

    def __init__(self, folder):
        super().__init__(folder)
        self.app = Gate()
        self.gateway = harness.Gateway(
            self.folder, f'[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{self.app.server_port}"]\n', users=("alice",)
        )
        self.port = self.gateway.port

    def launch(self, seconds):
        text = self.gateway.config.read_text()
        # A minute is the shortest life that its configuration allows.
        head, _, tail = text.partition("[session]\n")
        tail = "".join(line for line in tail.splitlines(True) if not line.startswith(("duration", "idle_timeout")))
        life = max(60, seconds)
        self.life = life
        self.gateway.config.write_text(f'{head}[session]\nduration = "{life}s"\nidle_timeout = "{life}s"\n{tail}')
        self.run([harness.BINARY, "run", "-c", self.gateway.config])

    def log_in(self):
        form = urllib.parse.urlencode({"username": "alice", "password": harness.PASSWORDS["alice"], "return_to": "/"})
        status, body, cookie = self.ask("/_auth/login", method="POST", body=form, headers=FORM)
        assert status == 303 and cookie, f"fluidgate: login answers {status} {body}"
        self.cookie_name = cookie.split("=")[0]
        return cookie

    def log_out(self, cookie):
        status, body, _ = self.ask("/_auth/logout", cookie, method="POST", body="", headers=FORM)
        assert status == 303, f"fluidgate: logout answers {status} {body}"

    def waiting(self):
        return self.app.held

    def go(self):
        self.app.release()

    def corrupt(self):
        return damage_sled(self.folder / "state/sessions")


FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


class Gate(http.server.ThreadingHTTPServer):
    """The application behind fluidgate: /set waits until it may go on."""

    daemon_threads = True

    def __init__(self):
        gate, self.held, self.turn = self, 0, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                if self.path.startswith("/set"):
                    turn = gate.turn
                    gate.held += 1
                    turn.wait(30)
                    gate.held -= 1
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def release(self):
        turn, self.turn = self.turn, threading.Event()
        turn.set()


def damage_sled(store):
    done = subprocess.run([TOWER, "corrupt", store], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


# The cases. Each gives (holds, what was seen).


def revive_after_logout(contestant):
    """A request that holds the session ends after the logout, having changed the session."""
    contestant.start()
    cookie = contestant.log_in()
    slow = contestant.slow(cookie, "a=1")
    contestant.log_out(cookie)
    between = contestant.is_in(cookie)
    contestant.go()
    slow.join()
    after = contestant.is_in(cookie)
    return after is False, f"{say(between)} after the logout, {say(after)} after the slow request"


def lost_update(contestant):
    """Two requests that hold the session at the same time write different values."""
    if isinstance(contestant, Fluidgate):
        raise Inapplicable("its sessions hold nothing that an application could write")
    contestant.start()
    cookie = contestant.log_in()
    requests = [contestant.slow(cookie, "a=1"), contestant.slow(cookie, "b=1")]
    contestant.go()
    for request in requests:
        request.join()
    kept = contestant.ask("/keys", cookie)[1]
    return kept == "a,b", f"kept: {kept or 'nothing'}, of a,b"


def crash_after_logout(contestant):
    """kill -9 right after the answer to a logout that was made a second after its login, and a login just before it."""
    if not contestant.persistent:
        raise Inapplicable("in memory only: a crash ends every session")
    back = lost = 0
    for _ in range(ROUNDS):
        contestant.start()
        cookie = contestant.log_in()
        time.sleep(1)  # so that whatever writes in the background has written the login
        other = contestant.log_in()
        contestant.log_out(cookie)
        contestant.kill()
        contestant.start()
        back += contestant.is_in(cookie) is not False
        lost += contestant.is_in(other) is not True
        contestant.stop()
    return back == 0 and lost == 0, f"of {ROUNDS} logouts {back} undone, of {ROUNDS} logins {lost} lost"


def expired_still_valid(contestant):
    """The cookie is presented after its session's end, by a client that keeps it."""
    contestant.start(SHORT)
    cookie = contestant.log_in()
    before = contestant.is_in(cookie)
    life = getattr(contestant, "life", SHORT)
    # `whoami` counts as activity, so the whole life passes after it.
    time.sleep(life + 1.5)
    after = contestant.is_in(cookie)
    return before is True and after is False, f"{say(before)}, and {say(after)} {life + 1.5:.1f} s later (its life: {life} s)"


def corrupt_record(contestant):
    """Stored bytes that are no record: what the owner sees, and whether somebody else can still log in."""
    contestant.start()
    cookie = contestant.log_in()
    time.sleep(1)
    contestant.stop()
    changed = contestant.corrupt()
    assert changed, "nothing was damaged"
    try:
        contestant.start()
    except AssertionError as error:
        return False, f"does not start: {str(error)[:80]}"
    seen = contestant.is_in(cookie)
    try:
        fresh = contestant.is_in(contestant.log_in())
    except (AssertionError, OSError) as error:
        fresh = str(error)[:80]
    alive = contestant.process.child.poll() is None
    return seen is False and fresh is True and alive, f"owner: {say(seen)}; somebody else: {say(fresh)}{'' if alive else '; the program ended'}"


def garbage_cookie(contestant):
    """Twenty-five cookie values that nobody issued."""
    contestant.start()
    good = contestant.log_in()
    seen = {}
    for value in GARBAGE:
        try:
            status = contestant.ask(contestant.whoami, f"{contestant.cookie_name}={value}")[0]
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        seen[status] = seen.get(status, 0) + 1
    alive = contestant.process.child.poll() is None
    still = contestant.is_in(good) if alive else "the program ended"
    words = ", ".join(f"{count} × {status}" for status, count in sorted(seen.items(), key=str))
    return set(seen) <= {400, 401} and still is True, f"{words}; a genuine one afterwards: {say(still)}"


def say(found):
    return {True: "signed in", False: "not signed in"}.get(found, f"answers {found}" if isinstance(found, int) else str(found))


CASES = (
    ("revive after logout", revive_after_logout),
    ("lost update", lost_update),
    ("crash after logout", crash_after_logout),
    ("expired still valid", expired_still_valid),
    ("corrupt record", corrupt_record),
    ("garbage cookie", garbage_cookie),
)


def put(case, make):
    """One case to one contestant in a folder of its own: its name and the cell."""
    folder = harness.Folder()
    contestant = make(folder.path / "contestant")
    try:
        holds, words = case(contestant)
        cell = f"{'holds' if holds else '**fails**'}: {words}"
    except Inapplicable as why:
        cell = f"cannot be applied: {why}"
    except Exception as error:  # noqa: BLE001: a case that could not be put is no result
        cell = f"NOT OBSERVED: {type(error).__name__} {' '.join(str(error).split())[:200]}"
    finally:
        contestant.stop()
        folder.remove()
    return contestant.name, cell.replace("|", "\\|")


def main():
    contestants = [
        lambda folder: Express(folder, "memory"),
        lambda folder: Express(folder, "file"),
        lambda folder: Tower(folder, "memory"),
        lambda folder: Tower(folder, "sled"),
        Fluidgate,
    ]
    names, table, began = [], [], time.monotonic()
    for title, case in CASES:
        cells = [put(case, make) for make in contestants]
        names = [name for name, _ in cells]
        table.append((title, case.__doc__, [cell for _, cell in cells]))
        for name, cell in cells:
            print(f"{title}: {name}: {cell}", file=sys.stderr, flush=True)
    lines = [
        "# Sessions compared",
        "",
        "Six cases in which session libraries differ, put to each by `./scripts/compare-sessions`, which writes this page. The words in",
        f"the tables are what the running programs answered; nothing is entered by hand. The run took {time.monotonic() - began:.0f} s.",
        "",
        "The applications on express-session and tower-sessions are in `benches/comparison/`. They are written as the documentation",
        "of each writes them: a new id at login, the session destroyed at logout. Options are the defaults, but for the life of a",
        "session and what loopback without TLS needs; express-session has `resave` and `saveUninitialized` off, as its documentation",
        "advises. tower-sessions-sled-store goes with tower-sessions 0.14 and not with 0.15, so both are there.",
    ]
    for title, what, cells in table:
        lines += ["", f"## {title.capitalize()}", "", what, "", "| | seen |", "| --- | --- |"]
        lines += [f"| {name} | {cell} |" for name, cell in zip(names, cells, strict=True)]
    text = "\n".join(lines) + "\n"
    print(text)
    unseen = text.count("NOT OBSERVED")
    if unseen:
        print(f"{unseen} cells were not observed: {PAGE.relative_to(ROOT)} was not written", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    assert shutil.which("node"), "node is needed"
    sys.exit(main())
