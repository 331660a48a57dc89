"""What fluidgate costs beside nginx, HAProxy, Caddy and oauth2-proxy, in one run on one machine.

Contestants have one worker on core 0; load and upstream share core 1. Machines drift, so only ratios inside one round count: the
order is reversed each round, the median of the per-round ratios is what is printed, and where the control itself drifts by more
than 10 % nothing is concluded. A run in which any answer was not the expected one is thrown away. A figure that could not be had
is UNMEASURED, never 0. Each part is a file in parts/; one that fails leaves the others' results.
"""

import tls_client  # isort: skip # noqa: F401, I001 (first, as it says itself)

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback

import report
from bench import Bench
from peers import RIG_CORE, ROOT, Rig, Unmeasurable

BEGIN, END = "<!-- compare: begin, written by ./scripts/bench --write -->", "<!-- compare: end -->"
PARTS = ["requests", "calls", "handshakes", "latency", "workers", "bodies", "idle", "routes", "log", "reuse", "start", "sessions"]
QUICK = ["requests", "calls", "handshakes", "reuse", "start"]


def arguments():
    parser = argparse.ArgumentParser(prog="./scripts/bench", description="What fluidgate costs beside its peers.")
    parser.add_argument("--quick", action="store_true", help=f"about two minutes: {', '.join(QUICK)}, in fewer, shorter rounds")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME[,NAME]", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="default 5; with --quick 3, which is too few for a conclusion")
    parser.add_argument("--seconds", type=float, help="of each counted run: default 2, with --quick 0.7")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured to a file")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md, when the run is sound")
    parser.add_argument("--fill", help=argparse.SUPPRESS)  # the program that fills a session store, built by ./scripts/bench
    parser.add_argument("--floor", help=argparse.SUPPRESS)  # the program that forwards on hyper alone, built by it too
    parser.add_argument("--plain", help=argparse.SUPPRESS)  # fluidgate as cargo alone builds it, where the other is guided
    parser.add_argument("--built", default="a binary that was there", help=argparse.SUPPRESS)  # which build of fluidgate that is
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # the arguments only: prints the parts
    options = parser.parse_args()
    unknown = [name for name in options.only or [] if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (0.7 if options.quick else 2)
    options.parts = [name for name in PARTS if name in (options.only or (QUICK if options.quick else PARTS))]
    if not 1 <= options.rounds <= 100 or not 0.2 <= options.seconds <= 30:
        parser.error("1 to 100 rounds, of 0.2 to 30 seconds")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the contestant, one for load and upstream")
    if options.check:
        print(*options.parts)
        sys.exit(0)
    return options


def main():
    options, began = arguments(), time.monotonic()
    (ROOT / "target/tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compare-", dir=ROOT / "target/tmp") as folder:
        rig = Rig(folder)
        bench = Bench(rig, options)
        cores = os.sched_getaffinity(0)
        try:
            for name in options.parts:
                # What this program asks by itself, it asks from the generator's core.
                os.sched_setaffinity(0, {int(RIG_CORE)})
                try:
                    importlib.import_module(f"parts.{name}").measure(bench)
                except Unmeasurable as error:
                    bench.problem(name, error)
                except Exception as error:  # a part that fails leaves the others' results
                    traceback.print_exc()
                    bench.problem(name, repr(error))
        finally:
            os.sched_setaffinity(0, cores)
            rig.close()
    took = time.monotonic() - began
    text = report.table(bench, options.parts, took, PARTS)
    print(text)
    if options.json:
        report.save(options.json, bench, options.parts, took)
    good = report.sound(bench)
    if options.write and good:
        report.write(text, BEGIN, END)
    if options.write:
        print(f"\n{'' if good else 'not '}written to {report.PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 0 if good and not bench.problems else 2


if __name__ == "__main__":
    # A SIGTERM takes the same way out as Ctrl-C, so that nothing is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
