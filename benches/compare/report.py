"""The table, the page and the JSON of a run."""

import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess

from measure import DRIFT_BOUND, ENOUGH, UNMEASURED
from peers import FLUIDGATE, ROOT, Unmeasurable, program

HERE = pathlib.Path(__file__).resolve().parent
PAGE = ROOT / "docs/performance.md"


def figure(value):
    """Three or four digits that count."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def range_of(values, words=figure):
    had = [value for value in values if value is not None]
    if not had:
        return UNMEASURED
    if len(had) == 1:
        return words(had[0])
    return f"{words(statistics.median(had))} ({words(min(had))} to {words(max(had))})"


def machine():
    """The machine in words, without its name."""
    memory = int(re.search(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)[1]) / 2**20
    model = re.search(r"^model name\s+: (.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cores = len(os.sched_getaffinity(0))
    kind = model[1].strip() if model else platform.machine()
    return f"{cores} cores ({kind}), {memory:.0f} GiB memory, Linux {platform.release().split('-')[0]}"


def versions():
    """Who was there, and which of it."""
    found = {}
    for name, command, argument in (
        ("nginx", "nginx", "-v"), ("HAProxy", "haproxy", "-v"), ("h2load", "h2load", "--version"),
        ("fluidgate", FLUIDGATE, "--version"),
    ):  # fmt: skip
        try:
            done = subprocess.run(
                [command if "/" in command else program(command), argument], capture_output=True, text=True, timeout=20
            )
            found[name] = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)[0]
        except (Unmeasurable, OSError, TypeError):
            found[name] = "missing"
    for name in ("caddy", "oauth2_proxy"):  # they do not know their own when they are built as modules
        pinned = re.search(r"^require (\S+) v(\S+)$", (HERE / name / "go.mod").read_text(), re.M)
        found[name.replace("_", "-").replace("caddy", "Caddy")] = pinned[2]
    return found


def thrown(bench):
    """How many runs of whom were thrown away, and the first reason of each."""
    of = {}
    for one in bench.thrown:
        of.setdefault((one["part"], one["group"], one["contestant"]), []).append(one)
    return [f"- {': '.join(who)}: {len(all_of)}; round {all_of[0]['round']}: {all_of[0]['why']}" for who, all_of in of.items()]


def table(bench, names, took, all_parts):
    """The Markdown: one table, then what must be known beside it."""
    lines = [
        "| part | case | contestant | measured: median (min to max) | × control of the same round: median (min to max) | aim |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    drifted = {}
    for row in bench.results:
        if not row["shown"]:
            continue
        case = f"{row['group']}: {row['figure']}" if row["figure"] and row["group"] else row["group"] or row["figure"]
        measured = range_of(row["values"])
        if row["unit"] and measured != UNMEASURED:
            measured += f" {row['unit']}"
        lost = sum(value is None for value in row["values"])
        if lost and measured != UNMEASURED:
            measured += f"; {lost} of {len(row['values'])} rounds thrown away"
        ratio = ""
        if row["ratios"] is not None and row["base"] != row["contestant"]:
            # Rounding is not to hide that an aim was missed.
            digits = "{:.3f}" if row["aim"] else "{:.2f}"
            ratio = f"{range_of(row['ratios'], digits.format)} × {row['base']}"
            if not row["conclusive"]:
                ratio += ", no conclusion"
        elif row["base"] == row["contestant"]:
            ratio = f"control; drift {row['drift']:.1%}" if row["drift"] is not None else UNMEASURED
        if row["base"] and not row["conclusive"]:
            drifted[row["part"], case, row["base"]] = row["drift"]
        lines.append(f"| {row['part']} | {case} | {row['contestant']} | {measured} | {ratio} | {row['aim']} |")
    who = ", ".join(f"{name} {version}" for name, version in versions().items())
    how = f"{bench.rounds} rounds of {bench.seconds:g} s in alternating order; {took / 60:.0f} minutes"
    lines += ["", f"{datetime.date.today().isoformat()}; {machine()}. {who}. {how}; parts: {', '.join(names)}."]
    lines += ["", f"fluidgate is {bench.built}."]
    if drifted:
        why = f"their control drifted by more than {DRIFT_BOUND:.0%} or has fewer than {ENOUGH} rounds"
        lines += ["", f"**No conclusion** from {len(drifted)} cases: {why}."]
    lines += [f"\n{part}: {text}" for part, text in dict.fromkeys(bench.notes)]
    if bench.thrown:
        lines += ["", f"{len(bench.thrown)} runs were thrown away:", "", *thrown(bench)]
    lines += [f"\n{part}: {UNMEASURED}: {why}" for part, why in bench.problems]
    missing = [name for name in all_parts if name not in names]
    if missing:
        lines += ["", f"Not asked for in this run: {', '.join(missing)}."]
    return "\n".join(lines)


def sound(bench):
    """Whether the run may stand on the page: the requests were measured, and the control of most cases held still.

    A case whose control did not is marked in its own row, so that it does not hide what the others say.
    """
    controls = [row for row in bench.results if row["shown"] and row["base"] and row["base"] == row["contestant"]]
    first = [row for row in controls if row["part"] == "requests"][:1]
    still = [row for row in controls if row["conclusive"]]
    return bool(first) and first[0]["conclusive"] and len(still) * 2 > len(controls)


def save(path, bench, names, took):
    """Everything that was measured, for programs."""
    text = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "machine": machine(), "versions": versions(),
        "rounds": bench.rounds, "seconds": bench.seconds, "quick": bench.quick, "took_seconds": round(took), "parts": names,
        "sound": sound(bench), "results": bench.results, "thrown_away": bench.thrown,
        "problems": [{"part": part, "why": why} for part, why in bench.problems],
        "notes": [{"part": part, "text": note} for part, note in dict.fromkeys(bench.notes)],
    }  # fmt: skip
    pathlib.Path(path).write_text(json.dumps(text, indent=1) + "\n")


def write(text, begin, end):
    """Puts the table between its markers in docs/performance.md; makes the page when there is none."""
    page = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{begin}\n{end}\n"
    if begin not in page or end not in page:
        page += f"\n{begin}\n{end}\n"
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
