"""How soon is a change visible in the mirror: on an idle system, under load, and for inserts?

Beside a bare loop (watch, read again, replace) on the same mongod, each on a database of its own, in turn.
"""

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from bson import ObjectId
from pymongo.database import Database

from bench.lab import PROBE, Document, Lab, cpu_of, cpu_of_session, fill, running, soon, status_of
from bench.rows import Goal, Row, Sample, percent
from tests.system.daemon_process import DaemonProcess

CUSTOMERS = 10_000
UPDATES_PER_S = 2_000
FLUSH_MS = 1000
POLL_S = 0.0002
BARE = "bare loop: "
LOST_S = 10.0
ROOT = __file__.rpartition("/bench/")[0]
numbers = itertools.count(1)


def answer(lab: Lab) -> list[Row]:
    """Probe the product and the bare loop, idle and loaded."""
    product, bare = lab.client["latency"], lab.client["latency_bare"]
    floors = {
        "bare loop in two processes, in fenced snapshot transactions: ": (
            "fenced",
            lab.client["latency_fenced"],
        ),
        "bare loop in two processes, in snapshot transactions: ": ("processes", lab.client["latency_two"]),
        "bare loop in snapshot transactions: ": ("transactions", lab.client["latency_safe"]),
        BARE: ("loop", bare),
    }
    for database in (product, *(database for _, database in floors.values())):
        fill(database.customers, CUSTOMERS)
        database.customers.insert_one({**PROBE, "probe": 0})
        lab.full(lab.command(database))
    with running(lab.command(product), "start", "sync") as daemon, contextlib.ExitStack() as stack:
        who = {"": (product, cpu_of_session(daemon.pid))}
        for name, (how, database) in floors.items():
            floor = stack.enter_context(process(lab, database, "bench.bare", how))
            assert floor.stdout is not None and floor.stdout.readline()
            who[name] = (database, cpu_of_session(floor.pid))
        rows = _idle(lab, who)
        rows += _inserts(lab, product)
        rows += _loaded(lab, product, daemon)
        rows += _loaded_bare(lab, bare)
    lab.verified(lab.command(product))
    return rows


@contextlib.contextmanager
def process(
    lab: Lab, database: "Database[Document]", module: str, *arguments: str
) -> "Iterator[subprocess.Popen[str]]":
    """Run a module of the bench beside us; killed afterwards."""
    command = [sys.executable, "-m", module, lab.uri, database.name, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def update_visible_s(database: "Database[Document]", timeout_s: float = LOST_S) -> float:
    """Change the probe, and return the seconds from then until the mirror shows it."""
    number, mirror = next(numbers), database.customers_anonymised
    began = time.perf_counter()
    database.customers.update_one(PROBE, {"$set": {"probe": number}})

    def shows() -> bool:
        found = mirror.find_one(PROBE, {"probe": 1})
        return found is not None and found.get("probe") == number

    soon(shows, timeout_s, POLL_S, "the update in the mirror")
    return time.perf_counter() - began


def _idle(lab: Lab, who: "dict[str, tuple[Database[Document], Callable[[], float]]]") -> list[Row]:
    probes = lab.pick(100, 300)
    found: dict[str, list[tuple[list[float], float, float]]] = {name: [] for name in who}
    for database, _ in who.values():  # both warm
        for _ in range(20):
            update_visible_s(database)
    for _ in range(lab.rounds):
        for name, (database, cpu) in who.items():
            before, mongod_before = cpu(), cpu_of(lab.mongod_pid)
            times = [1000 * update_visible_s(database) for _ in range(probes)]
            found[name].append((times, cpu() - before, cpu_of(lab.mongod_pid) - mongod_before))
    rows = []
    for title, share, bound in (("median", 50, 1.3), ("p99", 99, 2.0)):
        for name in reversed(who):
            what = "{}update visible, idle, " + title
            samples = [Sample(percent(times, share), *cpu) for times, *cpu in found[name]]
            floor = None if name == BARE else what.format(BARE)
            goal = None if name else Goal("ratio", "≤", bound)
            rows.append(Row(what.format(name), "ms", samples, floor, goal))
    return rows


def _inserts(lab: Lab, database: "Database[Document]") -> list[Row]:
    samples = []
    for _ in range(lab.pick(4, 20)):
        new = {"_id": ObjectId()}
        began = time.perf_counter()
        database.customers.insert_one({**new, "firstName": "Ann", "probe": 0})
        visible = partial(database.customers_anonymised.find_one, new)
        soon(visible, LOST_S, POLL_S, "the insert in the mirror")
        samples.append(Sample(1000 * (time.perf_counter() - began)))
    return [Row("insert visible, idle", "ms", samples, goal=Goal("median", "≤", FLUSH_MS + 100))]


def _loaded(lab: Lab, database: "Database[Document]", daemon: DaemonProcess) -> list[Row]:
    seconds = lab.pick(2, 10)
    medians, worst, pending, done = [], [], [], []
    for _ in range(lab.rounds):
        with process(lab, database, "bench.load", str(UPDATES_PER_S)) as load:
            assert load.stdout is not None and load.stdout.readline()
            at_first = status_of(daemon)["sync"]["pending"]
            times: list[float] = []
            cpu = lab.measure(partial(_probe, database, seconds, times), cpu_of_session(daemon.pid))
            pending.append(Sample(status_of(daemon)["sync"]["pending"] - at_first))
            load.kill()
            done.append(Sample(int(load.stdout.read().split()[-1]) / (seconds + 1)))
        medians.append(Sample(median(times), cpu.client_cpu_s, cpu.mongod_cpu_s))
        worst.append(Sample(percent(times, 99), cpu.client_cpu_s, cpu.mongod_cpu_s))
    under = f"under {UPDATES_PER_S} updates/s"
    return [
        Row(f"update visible, {under}, median", "ms", medians),
        Row(f"update visible, {under}, p99", "ms", worst, goal=Goal("median", "≤", 250)),
        Row(
            f"growth of the queue, {under}", "events", pending, goal=Goal("median", "≤", UPDATES_PER_S // 10)
        ),
        Row("load that was really there", "updates/s", done),
    ]


def _probe(database: "Database[Document]", seconds: float, times: list[float]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        times.append(1000 * update_visible_s(database))
        time.sleep(0.02)


def _loaded_bare(lab: Lab, database: "Database[Document]") -> list[Row]:
    """Where the bare loop does not keep up, its first probe ends the question."""
    samples, probes = [], lab.pick(5, 200)
    with process(lab, database, "bench.load", str(UPDATES_PER_S)) as load:
        assert load.stdout is not None and load.stdout.readline()
        with contextlib.suppress(AssertionError):
            for _ in range(probes):
                samples.append(Sample(1000 * update_visible_s(database, 3.0)))
                time.sleep(0.02)
    what = f"bare loop: update visible, under {UPDATES_PER_S} updates/s"
    lost = "" if len(samples) == probes else " (does not keep up: given up after 3 s)"
    return [Row(what + lost, "ms", samples or [Sample(3000)])]
