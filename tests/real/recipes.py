"""Runs the pages of docs/recipes: their blocks with free ports, in a folder of their own. docs/recipes/README.md says what is changed."""

import http.client
import re
import ssl
import subprocess
import urllib.parse

from harness import BINARY, PASSWORDS, ROOT, Client, Folder, Gateway, free_port

PAGES = ROOT / "docs/recipes"


class Recipe:
    """One page: its blocks as the test runs them. `test` is the class that it belongs to."""

    def __init__(self, test, name):
        self.text = (PAGES / name).read_text()
        self.folder = Folder()
        test.addClassCleanup(self.folder.remove)
        self.ports = {port: free_port() for port in re.findall(r'\d:(\d+)"', "".join(self.blocks("toml", raw=True)))}
        self.test = test

    def blocks(self, language, raw=False):
        """All blocks of a language, in the order of the page."""
        found = re.findall(rf"^```{language}\n(.*?)^```", self.text, re.M | re.S)
        return found if raw else [self.changed(block) for block in found]

    def block(self, language, raw=False):
        """The first block of a language."""
        return self.blocks(language, raw)[0]

    def changed(self, block):
        """The block with free ports on loopback and paths in the folder."""
        block = re.sub(r"\b(\d{2,5})\b(?!\.)", lambda number: str(self.ports.get(number[1], number[1])), block)
        return block.replace("0.0.0.0", "127.0.0.1").replace("/etc/", f"{self.path}/etc/").replace("/srv/", f"{self.path}/srv/")

    @property
    def path(self):
        return self.folder.path

    def listens(self):
        """The port that the gateway listens on: the first of its file."""
        first = re.search(r'\d:(\d+)"', self.block("toml", raw=True))
        return self.ports[first[1]]

    def start(self, more=""):
        """The gateway of the page's first TOML block, with `more` behind it."""
        gateway = RecipeGateway(self.path, self.block("toml") + more, self.listens())
        self.test.addClassCleanup(gateway.stop)
        return gateway.start()

    def certificate(self, host, name):
        """Makes /etc/ssl/NAME.pem and .key for `host` in the folder and gives a TLS context that believes it."""
        folder = self.path / "etc/ssl"
        folder.mkdir(parents=True)
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        argv += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        argv += ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
        subprocess.run(argv, check=True, capture_output=True, timeout=30)
        return ssl.create_default_context(cafile=str(folder / f"{name}.pem"))


class RecipeGateway(Gateway):
    """The gateway of a whole file, as an operator starts it."""

    def __init__(self, folder, text, port):
        self.folder, self.port, self.management = folder, port, free_port()
        self.config = folder / "gateway.toml"
        self.config.write_text(f'{text}\n[management]\nlisten = "127.0.0.1:{self.management}"\n')
        self.process = None
        (folder / "state").mkdir(mode=0o700, exist_ok=True)
        secret = folder / "secret.key"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_bytes(subprocess.run([BINARY, "secret"], check=True, capture_output=True).stdout)
            for name in ("alice", "bob"):
                self.add_user(name)

    def check(self):
        """The last line that `fluidgate check` says of the file."""
        done = subprocess.run([BINARY, "check", "-c", self.config], capture_output=True, text=True, timeout=30)
        return (done.stdout + done.stderr).strip().splitlines()[-1]


class Site(Client):
    """A client of one host name, whatever port it is served on; over TLS when it has a `context`."""

    def __init__(self, host, port, context=None):
        super().__init__(port)
        self.host, self.context = host, context

    def open(self, method, path, body=None, headers=None, timeout=60):
        sent = {"Host": self.host, **(headers or {})}
        if self.cookie and "Cookie" not in sent:
            sent["Cookie"] = self.cookie
        if self.context is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        else:
            connection = ThroughTls(self.host, self.port, self.context, timeout)
        connection.request(method, path, body=body, headers=sent)
        return connection, connection.getresponse()

    def signed_in(self, user):
        """The same, logged in."""
        self.log_in(user, PASSWORDS[user])
        return self

    def login_page_of(self, path):
        """Where a browser without a session is sent from `path`: the login page, and where that leads back to."""
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        answer, _ = self.request("GET", path, headers=headers)
        target = urllib.parse.urlsplit(answer.getheader("Location") or "")
        return answer.status, target.path, dict(urllib.parse.parse_qsl(target.query)).get("return_to")


class ThroughTls(http.client.HTTPSConnection):
    """A connection to 127.0.0.1 that asks for the certificate of another name."""

    def __init__(self, host, port, context, timeout):
        super().__init__("127.0.0.1", port, context=context, timeout=timeout)
        self.name = host

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.name)
