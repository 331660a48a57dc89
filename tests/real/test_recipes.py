"""Every page of docs/recipes, run as it stands with the programs that it is about."""

import contextlib
import http.server
import json
import os
import re
import subprocess
import threading
import unittest

from harness import PASSWORDS, ROOT, VENV, Process, accepts, free_port, wait_until
from peers import program, start_nginx
from recipes import PAGES, Recipe, Site


def serve_text(test, recipe, *sites):
    """nginx with one site per (port of the page, text): what stands behind the gateway where any app would do."""
    servers = []
    for port, text in sites:
        root = recipe.path / f"www-{port}"
        root.mkdir()
        (root / "index.html").write_text(text)
        servers.append(f"server {{ listen 127.0.0.1:{recipe.ports[port]}; root {root}; }}")
    start_nginx(test, recipe.path, "\n".join(servers), recipe.ports[sites[-1][0]], name="apps")


class Pages(unittest.TestCase):
    def test_every_page_is_in_the_index_and_run_by_a_test(self):
        pages = {page.name for page in PAGES.glob("*.md")} - {"README.md"}
        self.assertEqual(pages, set(re.findall(r"^\| \[([a-z-]+\.md)\]", (PAGES / "README.md").read_text(), re.M)))
        here = (ROOT / "tests/real/test_recipes.py").read_text()
        for page in pages:
            self.assertIn(f'Recipe(cls, "{page}")', here)


class TwoAppsByHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "two-apps-by-host.md")
        serve_text(cls, cls.recipe, ("3000", "the wiki"), ("4000", "the files"))
        cls.gateway = cls.recipe.start()

    def site(self, host):
        return Site(host, self.gateway.port)

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_each_host_leads_to_its_app_after_a_login(self):
        for host, text in (("wiki.example.com", b"the wiki"), ("files.example.com", b"the files")):
            with self.subTest(host):
                site = self.site(host)
                self.assertEqual(site.login_page_of("/index.html"), (303, "/_auth/login", "/index.html"))
                site.signed_in("alice")
                self.assertEqual(site.request("GET", "/index.html")[1], text)

    def test_another_host_is_404(self):
        self.assertEqual(self.site("other.example.com").request("GET", "/")[0].status, 404)


class OneLoginForBoth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "two-apps-by-host.md")
        serve_text(cls, cls.recipe, ("3000", "the wiki"), ("4000", "the files"))
        cls.gateway = cls.recipe.start(more=cls.recipe.blocks("toml")[1])

    def test_a_login_at_one_host_holds_at_the_other(self):
        wiki = Site("wiki.example.com", self.gateway.port).signed_in("alice")
        files = Site("files.example.com", self.gateway.port)
        files.cookie = wiki.cookie
        self.assertEqual(files.request("GET", "/index.html")[1], b"the files")


class BehindNginx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "behind-nginx.md")
        cls.recipe.ports["443"] = cls.port = free_port()
        cls.context = cls.recipe.certificate("wiki.example.com", "wiki")
        cls.app = HeaderEcho(cls, cls.recipe.ports["3000"])
        cls.gateway = cls.recipe.start()
        start_nginx(cls, cls.recipe.path, cls.recipe.block("nginx"), cls.port)

    def site(self):
        return Site("wiki.example.com", self.port, self.context)

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_a_login_through_nginx_gives_a_secure_cookie_and_reaches_the_app(self):
        site = self.site()
        self.assertEqual(site.login_page_of("/page"), (303, "/_auth/login", "/page"))
        site.signed_in("alice")
        self.assertTrue(site.cookie.startswith("__Host-fluidgate="), site.cookie)
        seen = json.loads(site.request("GET", "/page")[1])
        self.assertEqual(seen["remote-user"], "alice")
        self.assertEqual(seen["x-forwarded-proto"], "https")
        self.assertEqual(seen["x-forwarded-for"].split(", ")[0], "127.0.0.1")
        self.assertEqual(seen["host"], "wiki.example.com")

    def test_what_the_client_claims_of_itself_does_not_reach_the_app(self):
        site = self.site().signed_in("alice")
        forged = {"X-Forwarded-For": "6.6.6.6", "Remote-User": "bob", "X-Forwarded-Proto": "http"}
        seen = json.loads(site.request("GET", "/", headers=forged)[1])
        self.assertNotIn("6.6.6.6", seen["x-forwarded-for"])
        self.assertEqual((seen["remote-user"], seen["x-forwarded-proto"]), ("alice", "https"))


class OneTlsSite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "one-tls-site.md")
        cls.context = cls.recipe.certificate("wiki.example.com", "wiki")
        (cls.recipe.path / "etc/ssl/wiki.key").chmod(0o600)
        serve_text(cls, cls.recipe, ("3000", "the wiki"))
        cls.gateway = cls.recipe.start()

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_port_80_sends_on_to_https_and_knows_no_other_host(self):
        plain = Site("wiki.example.com", self.recipe.ports["80"])
        answer, _ = plain.request("GET", "/a?b=c")
        self.assertEqual((answer.status, answer.getheader("Location")), (308, "https://wiki.example.com/a?b=c"))
        other, _ = Site("other.example.com", self.recipe.ports["80"]).request("GET", "/")
        self.assertEqual(other.status, 404)

    def test_a_browser_gets_the_certificate_the_login_and_the_app(self):
        site = Site("wiki.example.com", self.gateway.port, self.context)
        self.assertEqual(site.login_page_of("/index.html"), (303, "/_auth/login", "/index.html"))
        site.signed_in("alice")
        self.assertTrue(site.cookie.startswith("__Host-fluidgate="), site.cookie)
        self.assertEqual(site.request("GET", "/index.html")[1], b"the wiki")


def start_radicale(test, recipe, settings):
    """Radicale with these settings on the page's port 5232."""
    config = recipe.path / "radicale.ini"
    config.write_text(f"{settings}\n[storage]\nfilesystem_folder = {recipe.path}/collections\n")
    log = recipe.path / "radicale.log"
    argv = [VENV / "bin/python", "-m", "radicale", "--config", config]
    app = Process(argv, log, env={**os.environ, "RADICALE_CONFIG": ""})
    test.addClassCleanup(app.stop)
    wait_until(lambda: accepts(recipe.ports["5232"]), "radicale", process=app.child, log=log)


class AppBelowAPath(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "app-below-a-path.md")
        port = cls.recipe.ports["5232"]
        start_radicale(
            cls, cls.recipe, f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only"
        )
        home = cls.recipe.path / "srv/home"
        home.mkdir(parents=True)
        (home / "index.html").write_text("home")
        cls.gateway = cls.recipe.start()
        cls.alice = Site("home.example.com", cls.gateway.port).signed_in("alice")

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_the_app_works_below_its_path_links_and_redirects_included(self):
        made, said = self.alice.request("MKCALENDAR", "/calendar/alice/work/")
        self.assertEqual(made.status, 201, said)
        found, body = self.alice.request("PROPFIND", "/calendar/alice/", headers={"Depth": "1"})
        self.assertEqual(found.status, 207)
        self.assertIn(b"<href>/calendar/alice/work/</href>", body)
        sent, _ = self.alice.request("GET", "/calendar/")
        self.assertEqual(sent.status, 302)
        target = sent.getheader("Location")
        self.assertRegex(target, r"^(http://home\.example\.com)?/calendar/\.web")
        page, _ = self.alice.request("GET", target.removeprefix("http://home.example.com"))
        self.assertIn(page.status, (200, 302))

    def test_the_rest_of_the_host_is_the_folder_and_needs_the_login_too(self):
        self.assertEqual(self.alice.request("GET", "/")[1], b"home")
        self.assertEqual(self.alice.request("GET", "/calendars")[0].status, 404)
        self.assertEqual(Site("home.example.com", self.gateway.port).request("GET", "/")[0].status, 401)


class HeaderLogin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "header-login.md")
        start_radicale(cls, cls.recipe, cls.recipe.blocks("ini")[0])
        cls.echo = HeaderEcho(cls, cls.recipe.ports["3000"])
        cls.gateway = cls.recipe.start()

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_radicale_takes_each_user_for_themselves_and_nobody_for_another(self):
        for user in ("alice", "bob"):
            site = Site("calendar.example.com", self.gateway.port).signed_in(user)
            answer, _ = site.request("MKCALENDAR", f"/{user}/work/")
            self.assertEqual(answer.status, 201)
            other = "bob" if user == "alice" else "alice"
            answer, _ = site.request("PROPFIND", f"/{other}/", headers={"Depth": "0", "X-Remote-User": other})
            self.assertIn(answer.status, (403, 404))

    def test_grafanas_headers_say_who_it_is_and_cannot_be_forged(self):
        site = Site("grafana.example.com", self.gateway.port).signed_in("alice")
        forged = {"X-WEBAUTH-USER": "admin", "X_WEBAUTH_USER": "admin", "X-WEBAUTH-GROUPS": "admins"}
        seen = json.loads(site.request("GET", "/", headers=forged)[1])
        _, grafana = self.recipe.blocks("ini")
        self.assertEqual(re.search(r"header_name = (\S+)", grafana)[1].lower(), "x-webauth-user")
        mapped = dict(pair.split(":") for pair in re.search(r"headers = (.*)", grafana)[1].split())
        said = {"x-webauth-user": "alice", mapped["Name"].lower(): "Alice", mapped["Email"].lower(): "alice@example.com"}
        said[mapped["Groups"].lower()] = "staff,readers"
        self.assertEqual({name: seen.get(name) for name in said}, said)
        self.assertNotIn("x_webauth_user", seen)


class Vite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recipe = Recipe(cls, "vite.md")
        cls.app = cls.recipe.path / "app"
        cls.app.mkdir()
        (cls.app / "vite.config.js").write_text(cls.recipe.block("js"))
        (cls.app / "package.json").write_text('{ "type": "module", "private": true }\n')
        (cls.app / "index.html").write_text('<!doctype html><p id="seen"></p><script type="module" src="/main.js"></script>\n')
        (cls.app / "main.js").write_text(
            'import { text } from "./text.js";\nconst seen = document.querySelector("#seen");\nseen.textContent = text;\n'
            'import.meta.hot.accept("./text.js", (fresh) => (seen.textContent = fresh.text));\n'
        )
        cls.say("first")
        log = cls.recipe.path / "vite.log"
        vite = ROOT / "target/real-node/node_modules/vite/bin/vite.js"
        server = Process([program("node"), vite, "--clearScreen", "false"], log, cwd=cls.app)
        cls.addClassCleanup(server.stop)
        wait_until(lambda: accepts(cls.recipe.ports["5173"]), "vite", process=server.child, log=log)
        cls.gateway = cls.recipe.start()

    @classmethod
    def say(cls, text):
        (cls.app / "text.js").write_text(f"export const text = {json.dumps(text)};\n")

    def test_the_file_passes_the_check_without_a_warning(self):
        self.assertRegex(self.gateway.check(), ": ok .*, 0 warnings")

    def test_a_change_shows_in_the_browser_without_a_load_of_the_page(self):
        argv = [program("node"), ROOT / "tests/real/vite_page.mjs", f"http://dev.example.com:{self.gateway.port}/", "alice"]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as browser:
            # A browser that says nothing ends the wait for its next line.
            late = threading.Timer(60, browser.kill)
            late.start()
            try:
                browser.stdin.write(PASSWORDS["alice"] + "\n")
                browser.stdin.flush()
                self.assertEqual(json.loads(browser.stdout.readline() or "null"), {"text": "first", "loads": 1})
                self.say("second")
                self.assertEqual(json.loads(browser.stdout.readline() or "null"), {"text": "second", "loads": 1})
            finally:
                with contextlib.suppress(OSError):
                    browser.stdin.close()
                browser.wait(30)
                late.cancel()

    def test_nothing_of_vite_is_there_without_a_session(self):
        stranger = Site("dev.example.com", self.gateway.port)
        for path in ("/main.js", "/@vite/client"):
            self.assertEqual(stranger.request("GET", path)[0].status, 401)


class HeaderEcho:
    """A server that answers with the fields it received, as JSON."""

    def __init__(self, test, port):
        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        test.addClassCleanup(server.server_close)
        test.addClassCleanup(server.shutdown)
