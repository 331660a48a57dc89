"""Prometheus itself reads /metrics, finds nothing odd in it, and evaluates every expression of the dashboard and of docs/metrics.md."""

import json
import re
import subprocess
import unittest
import urllib.parse
import urllib.request

from harness import ROOT, Folder, Gateway, Process, free_port, wait_until
from peers import program, start_nginx

DASHBOARD = ROOT / "docs/grafana-dashboard.json"
# What stands for a number of their own in panels.
VARIABLES = {"$__rate_interval": "1m", "$job": "fluidgate"}


def expressions():
    """Each expression of the dashboard with the title of its panel, and those of the page."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    page = (ROOT / "docs/metrics.md").read_text()
    _, table = page.split("| question | expression |")
    return found + [(question, e) for question, e in re.findall(r"^\| (.*?\?) \| `(.*?)`", table, re.M)]


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path, app = cls.folder.path, free_port()
        (path / "www").mkdir()
        (path / "www/index.html").write_text("the app")
        start_nginx(cls, path, f"server {{ listen 127.0.0.1:{app}; root {path}/www; }}", app)
        cls.gateway = Gateway(path, f'[[routes]]\nname = "app"\nupstream = ["http://127.0.0.1:{app}"]\n')
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        alice = cls.gateway.client("alice")
        for _ in range(3):
            alice.request("GET", "/index.html")
        cls.port = free_port()
        config = path / "prometheus.yml"
        page = (ROOT / "docs/metrics.md").read_text()
        scrape = re.search(r"^```yaml\n(.*?)^```", page, re.M | re.S)[1]
        scrape = scrape.replace("127.0.0.1:9091", f"127.0.0.1:{cls.gateway.management}")
        config.write_text(f"global: {{ scrape_interval: 1s }}\n{scrape}")
        argv = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={path}/tsdb"]
        argv += [f"--web.listen-address=127.0.0.1:{cls.port}"]
        log = path / "prometheus.log"
        prometheus = Process(argv, log)
        cls.addClassCleanup(prometheus.stop)
        # A rate needs two readings.
        wait_until(lambda: int(cls.one("sum_over_time(up[1m])") or 0) >= 3, "prometheus", 60, prometheus.child, log)

    @classmethod
    def query(cls, expression):
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{cls.port}/api/v1/query?{query}", timeout=20) as answer:
            return json.load(answer)["data"]["result"]

    @classmethod
    def one(cls, expression):
        """The value of the only series, None when there is none."""
        found = cls.query(expression)
        return found[0]["value"][1] if found else None

    def test_prometheus_finds_nothing_odd_in_names_types_and_units(self):
        status, body = self.gateway.ask_management("/metrics")
        self.assertEqual(status, 200)
        done = subprocess.run([program("promtool"), "check", "metrics"], input=body, capture_output=True, timeout=30)
        self.assertEqual((done.returncode, (done.stdout + done.stderr).decode()), (0, ""))

    def test_what_prometheus_read_is_what_happened(self):
        self.assertEqual(self.one('fluidgate_requests_total{route="app",status="2xx",decision="allow"}'), "3")
        self.assertEqual(self.one('fluidgate_logins_total{result="granted"}'), "1")
        self.assertEqual(self.one("fluidgate_sessions_live"), "1")

    def test_every_expression_of_the_dashboard_and_the_page_is_understood(self):
        found = expressions()
        self.assertGreater(len(found), 20)
        for where, expression in found:
            with self.subTest(where, expression=expression):
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                self.query(expression)

    def test_the_dashboard_names_only_metrics_of_the_page(self):
        page = set(re.findall(r"^\| `(fluidgate_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
        used = set(re.findall(r"fluidgate_\w+", " ".join(expression for _, expression in expressions())))
        self.assertEqual(used - page, set())
        panels = json.loads(DASHBOARD.read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
