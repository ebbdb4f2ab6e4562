"""How long from `start` to the first change in the mirror, with a MongoDB that runs and the embedded one?

Beside what any program has to pay: a Python that imports PyMongo, and a mongod that starts.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from bench.lab import COMMAND, PROBE, Document, Lab, fill, running, soon
from bench.latency import update_visible_s
from bench.rows import Goal, Row, Sample
from procs import mongod
from supervisor.settings import embedded_server
from tests.system.command_line import CommandLine

CUSTOMERS = 1_000
POLL_S = 0.002
LONG_S = 60.0
"""Of a start."""
PYTHON, MONGOD = "python -c 'import pymongo'", "mongod alone: start → writable"
OWN, EMBEDDED = (
    "own MongoDB: start → first change in the mirror",
    "embedded: start → first change in the mirror",
)


def answer(lab: Lab) -> list[Row]:
    """Start each, in turn."""
    database = lab.client["start"]
    fill(database.customers, CUSTOMERS)
    database.customers.insert_one({**PROBE, "probe": 0})
    place = lab.directory / "embedded"
    place.mkdir()
    embedded = CommandLine(place, command=COMMAND)
    home = embedded_server(embedded.state_dir).directory
    _first_start(embedded, home)
    measured: dict[str, Callable[[], float]] = {
        PYTHON: lambda: _seconds(
            partial(subprocess.run, [sys.executable, "-c", "import pymongo"], check=True)
        ),
        f"{OWN}, again": lambda: _own(lab, database, fresh=False),
        f"{OWN}, the first time": lambda: _own(lab, database, fresh=True),
        MONGOD: lambda: _mongod(home),
        f"{EMBEDDED}, again": lambda: _embedded(embedded, home),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in measured}
    for _ in range(lab.rounds):
        for name, measure in measured.items():
            samples[name].append(Sample(measure()))
    rules = {OWN: (PYTHON, Goal("median", "≤", 1.5)), EMBEDDED: (MONGOD, Goal("median", "≤", 2.5))}
    return [
        Row(name, "s", found, *rules.get(name.partition(",")[0], (None, None)))
        for name, found in samples.items()
    ]


def _own(lab: Lab, database: "Database[Document]", *, fresh: bool) -> float:
    """Start and change a customer at once; `fresh`: nothing is known of an earlier run."""
    command = lab.command(database)
    if fresh:
        for name in ("clientsync_state", "customers_anonymised"):
            database.drop_collection(name)
    began = time.perf_counter()
    with running(command, "start", "sync", healthy=False):
        update_visible_s(database, LONG_S)
        return time.perf_counter() - began


def _mongod(home: Path) -> float:
    began = time.perf_counter()
    with mongod.running(home):
        return time.perf_counter() - began


def _first_start(command: CommandLine, home: Path) -> None:
    with running(command, "start", "sync"), MongoClient[Any](mongod.prepare(home)) as client:
        fill(client["clientsync"].customers, CUSTOMERS)
        client["clientsync"].customers.insert_one({**PROBE, "probe": 0})
        update_visible_s(client["clientsync"])


def _embedded(command: CommandLine, home: Path) -> float:
    """Start, change a customer as soon as the server takes it, and wait for the mirror."""
    uri = mongod.prepare(home)
    began = time.perf_counter()
    with running(command, "start", "sync", healthy=False):
        soon(lambda: _writable(uri), LONG_S, POLL_S, "the embedded server")
        with MongoClient[Any](uri) as client:
            update_visible_s(client["clientsync"], LONG_S)
            return time.perf_counter() - began


def _writable(uri: str) -> bool:
    with contextlib.suppress(PyMongoError), MongoClient[Any](uri, serverSelectionTimeoutMS=50) as client:
        return bool(client.admin.command("hello")["isWritablePrimary"])
    return False


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
