"""What does the mirror cost while nothing happens: CPU of all processes, and memory of each.

Memory is PSS: pages that processes share are counted once. mongod counts apart; the floors are a mongod
with one idle client, and Pythons that have connected to it, one of them at a change stream.
"""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.lab import Lab, cpu_of, cpu_of_session, fill, running
from bench.rows import Goal, Row, Sample

CUSTOMERS = 10_000
CONNECTED = """
import sys, time, pymongo
with pymongo.MongoClient(sys.argv[1]) as client:
    client.admin.command("ping")
    print(flush=True)
    if sys.argv[2:]:
        with client[sys.argv[2]].customers.watch(max_await_time_ms=1000) as stream:
            while True:
                stream.try_next()
    time.sleep(600)
"""
MONGOD, ALONE, PYTHON = "idle: mongod", "idle: mongod without us", "memory: a Python with a MongoClient"
BARE = "idle: three Pythons with a MongoClient, one at a change stream"
TITLE = re.compile(r"clientsync: (\S+) \(")
BOUNDS_MB = {"supervisor": 30, "listener": 60, "scanner": 60, "writer": 60}


def answer(lab: Lab) -> list[Row]:
    """Leave everything alone for a while, several times; then look at the memory."""
    database, seconds, rounds = lab.client["idle"], lab.pick(6, 20), lab.pick(1, 5)
    fill(database.customers, CUSTOMERS)
    command, settles = lab.command(database), lab.pick(2, 12)
    lab.full(command)

    def mongod_cpu() -> float:
        return cpu_of(lab.mongod_pid)

    alone, bare, ours, python_mb = list[Sample](), list[Sample](), list[list[Sample]](), 0.0
    memory: dict[str, float] = {}
    for _ in range(rounds):
        time.sleep(settles)
        alone += _share(seconds, mongod_cpu)
        with (
            _connected(lab.uri) as one,
            _connected(lab.uri) as two,
            _connected(lab.uri, database.name) as three,
        ):
            time.sleep(settles)
            bare += _share(seconds, partial(_cpu_of_all, one, two, three))
            python_mb = pss_mb(one)
        with running(command, "start", "sync") as daemon:
            time.sleep(settles)
            ours.append(_share(seconds, cpu_of_session(daemon.pid), mongod_cpu))
            memory = {
                found[1]: pss_mb(pid)
                for pid, title in daemon.processes().items()
                if (found := TITLE.match(title))
            }
    rows = [
        Row(ALONE, "% of a core", alone),
        Row(MONGOD, "% of a core", [mongod for _, mongod in ours], ALONE),
        Row(BARE, "% of a core", bare),
        Row(
            "idle: all processes of the product",
            "% of a core",
            [product for product, _ in ours],
            BARE,
            Goal("median", "≤", 0.5),
        ),
        Row(PYTHON, "MB", [Sample(python_mb)]),
    ]
    for child, megabytes in memory.items():
        goal = Goal("median", "≤", BOUNDS_MB[child])
        rows.append(Row(f"memory: {child}", "MB", [Sample(megabytes)], PYTHON, goal))
    return rows


def pss_mb(pid: int) -> float:
    """Return the memory of a process, its share of what others use too; 0 when it is gone."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        return int(found[1]) / 1000 if found else 0.0
    return 0.0


def _share(seconds: float, *clocks: Callable[[], float]) -> list[Sample]:
    """Return how much of a core each clock has counted meanwhile, in percent."""
    before, began = [clock() for clock in clocks], time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    return [Sample(100 * (clock() - start) / took) for clock, start in zip(clocks, before, strict=True)]


def _cpu_of_all(*pids: int) -> float:
    return sum(map(cpu_of, pids))


@contextlib.contextmanager
def _connected(uri: str, *database: str) -> Iterator[int]:
    """Yield the pid of a Python with a MongoClient; it follows the customers of `database`."""
    command = [sys.executable, "-c", CONNECTED, uri, *database]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as python:
        assert python.stdout is not None and python.stdout.readline()
        try:
            yield python.pid
            assert python.poll() is None, "it ended by itself"
        finally:
            python.kill()
