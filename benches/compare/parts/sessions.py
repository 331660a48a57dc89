"""What sessions cost by their number: ./scripts/bench-sessions as a part of this run, its rows as they are."""

import re
import subprocess
import sys

from bench import LOGGED_IN
from peers import ROOT, Unmeasurable

PART = "sessions"


def measure(bench):
    if not bench.fill:
        raise Unmeasurable("the program that fills a store is not built; ./scripts/bench builds it")
    argv = [sys.executable, ROOT / "benches/sessions/sessions.py", "--fill", bench.fill, "--rounds", bench.rounds,
            "--seconds", max(1, round(bench.seconds)), "--only", "start,lookup,storm"]  # fmt: skip
    argv += ["--sessions", 100_000] if bench.quick else []
    done = subprocess.run(["taskset", "-c", "0,1", *map(str, argv)], stdout=subprocess.PIPE, text=True, timeout=3600)
    found = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", done.stdout, re.M)
    rows = [row for row in found if row[0] not in ("figure", "---")]
    if not rows:
        raise Unmeasurable(f"no table: {done.stdout[-300:]}")
    for figure, measured, aim in rows:
        bench.quoted(PART, LOGGED_IN, figure, measured, aim)
    if done.returncode:
        bench.note(PART, "**no conclusion**: " + " ".join(re.sub(r"(?s).*\*\*No conclusion\*\*:", "", done.stdout).split())[:400])
