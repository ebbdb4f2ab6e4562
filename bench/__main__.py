"""`make bench`: asks the questions, prints one table, writes bench/results/*.json and a plot.

QUICK=1 for a first look, ONLY=latency,idle for some of them, SIZES=full for five million customers too.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from bench import rows
from bench.lab import laboratory

QUESTIONS = ("full", "latency", "backlog", "generator", "restart", "idle", "start", "sizes", "peers")
FAILURES = (AssertionError, OSError, PyMongoError, subprocess.SubprocessError)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Answer what was asked for; nothing here judges, the table does."""
    quick = bool(os.environ.get("QUICK"))
    # Two minutes are not enough to install the peers as well.
    usual = QUESTIONS[:-1] if quick else QUESTIONS
    chosen = [name for name in (os.environ.get("ONLY") or ",".join(usual)).split(",") if name]
    if unknown := set(chosen) - set(QUESTIONS):
        sys.exit(f"ONLY: {', '.join(sorted(unknown))}: not one of {', '.join(QUESTIONS)}")
    unanswered: list[str] = []
    RESULTS.mkdir(exist_ok=True)
    print(_machine(), flush=True)
    print(rows.HEAD, flush=True)
    for name in chosen:
        began = time.monotonic()
        try:
            with laboratory(quick) as lab:
                answered = import_module(f"bench.{name}").answer(lab)
        except FAILURES as error:
            # The others may still have an answer.
            print(f"{name}: no answer: {error}", file=sys.stderr, flush=True)
            unanswered.append(name)
            continue
        took_s = round(time.monotonic() - began, 1)
        print(rows.heading(name), rows.table(answered), sep="\n", flush=True)
        told = {"quick": quick, "machine": _machine(), "took_s": took_s}
        found = {**told, "rows": [rows.to_json(row) for row in answered]}
        (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    _draw([name for name in chosen if name not in unanswered])
    sys.exit(1 if unanswered else 0)


def _machine() -> str:
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, PyMongo {pymongo.version}, {cores} cores, "
        f"load before it began {load:.1f}\n"
    )


def _draw(chosen: list[str]) -> None:
    try:
        plot = import_module("bench.plot")
    except ImportError:
        print("\nno plot: matplotlib is not installed (dependency group `bench`)")
        return
    print(f"\n{plot.draw(RESULTS, chosen)}")


if __name__ == "__main__":
    main()
