"""A short soak, and the proof that a long one would notice a leak; `make soak` runs long ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from procs.config import Database
from tests.mongod_process import MongodProcess
from tests.soak import gauges
from tests.soak.curves import Curves
from tests.soak.soak import SERVER_OPTIONS, Soak, settings
from tests.system.command_line import CommandLine

LEAKS = """
import sys, threading
what, kept = sys.argv[1], []
for line in sys.stdin:
    if what == "memory":
        kept.append(bytearray(b"x" * 100_000))
    elif what == "files":
        kept.append(open("/dev/null"))
    elif what == "threads":
        kept.append(threading.Thread(target=threading.Event().wait, daemon=True))
        kept[-1].start()
    print(flush=True)
"""


def test_after_a_short_soak_both_mirrors_are_right_and_every_curve_was_drawn(tmp_path: Path) -> None:
    with MongodProcess(tmp_path / "mongod", *SERVER_OPTIONS) as mongod:
        database = Database(mongod.uri, "soak", "customers", "customers_anonymised")
        cli = CommandLine(tmp_path, settings(mongod, database))

        soak = Soak(cli, mongod, database, seed=1)
        report = soak.run(0, sample_every_s=0.1, chore_every_s=0.1, rest_s=1)

    roles = ("supervisor", "generator", "listener", "scanner", "writer")
    drawn = {f"steady {role} {gauge}" for role in roles for gauge in ("private_kb", "fds", "threads")}
    assert drawn | {"server sessions", "server cursors", "server state_bytes"} <= report.curves.samples.keys()
    assert min(report.curves.samples["steady writer private_kb"])[1] > 1_000
    assert all(len(series) >= 8 for series in report.curves.samples.values())
    assert report.customers > 1_000
    assert report.rounds > 0
    assert report.chores.total() == 8


@pytest.mark.parametrize("what", ["memory", "files", "threads", "nothing"])
def test_the_leak_of_a_process_is_found_and_named(what: str) -> None:
    curves = Curves()
    with subprocess.Popen(
        [sys.executable, "-c", LEAKS, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for second in range(100):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            curves.add(
                second, {f"it {name}": value for name, value in gauges.of_process(process.pid).items()}
            )
        process.stdin.close()

    grown = set(curves.grown())

    expected = {"memory": {"it private_kb"}, "files": {"it fds"}, "threads": {"it threads"}, "nothing": set()}
    assert grown == expected[what]
