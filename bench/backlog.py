"""How fast is a backlog worked off, after the daemon was down while customers changed?

Beside a bare process that reads the same stream from the same moment, and mirrors in batches of 1000; and
beside two processes that only read the stream, anonymise and write. Each customer changes once, or three
times within moments; the second shows what is coalesced.
"""

import subprocess
import sys
import time
from functools import partial

from bson import json_util
from pymongo.database import Database

from bench.bare import KEY_ONLY
from bench.full import now, writes_since
from bench.lab import LONG_S, Document, Lab, cpu_of, cpu_of_session, fill, running, soon, up_to_date
from bench.rows import Goal, Row, Sample, per_second

POLL_S = 0.05
ROOT = __file__.rpartition("/bench/")[0]


def answer(lab: Lab) -> list[Row]:
    """Change all customers while nothing runs; then measure until the mirror shows the last change."""
    count = lab.pick(5_000, 100_000)
    product, bare, two = (lab.client[name] for name in ("backlog", "backlog_bare", "backlog_two"))
    for database in (product, bare, two):
        fill(database.customers, count)
        lab.full(lab.command(database))
    rows, number = [], 0
    for times, how in ((1, "changed once"), (3, "changed 3 times")):
        floors, designs, found, writes = list[Sample](), list[Sample](), list[Sample](), []
        for _ in range(lab.rounds):
            # Each from directly before its own changes: what happens elsewhere is not to be read by any.
            token, until = _position(bare), str(times * count)
            _change(bare, times, number)
            floors.append(lab.measure(partial(_run, "bench.bare", lab, bare, "batches", token, until)))
            token = _position(two)
            _change(two, times, number)
            designs.append(lab.measure(partial(_run, "bench.bare_backlog", lab, two, token)))
            with running(lab.command(product), "start", "sync"):
                pass  # the checkpoint is here now
            before = now(product)
            number = _change(product, times, number)
            for database in (bare, two):
                assert up_to_date(database.customers_anonymised, "changes", number)()
            found.append(_product(lab, product, number))
            writes.append(Sample(writes_since(product, before) / count))
        floor = f"bare process in batches of 1000: each {how}"
        rows += [
            Row(floor, "customers/s", per_second(count, floors)),
            Row(
                f"two bare processes, anonymising, in snapshot transactions: each {how}",
                "customers/s",
                per_second(count, designs),
                floor,
            ),
            Row(
                f"backlog: each {how}",
                "customers/s",
                per_second(count, found),
                floor,
                Goal("median", "≥", 20_000),
            ),
            Row(f"backlog: writes in the oplog for a customer {how}", "", writes),
        ]
    lab.verified(lab.command(product))
    return rows


def _change(database: "Database[Document]", times: int, number: int) -> int:
    """Change each customer so often, a thousand at a time; return the last number that they got."""
    ids = [each["_id"] for each in database.customers.find({}, {"_id": 1}, sort=[("_id", 1)])]
    for first in range(0, len(ids), 1000):
        some = {"_id": {"$in": ids[first : first + 1000]}}
        for each in range(times):
            database.customers.update_many(some, {"$set": {"changes": number + 1 + each}})
    return number + times


def _position(database: "Database[Document]") -> str:
    with database.customers.watch(KEY_ONLY) as stream:
        return json_util.dumps(stream.resume_token)


def _run(module: str, lab: Lab, database: "Database[Document]", *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, lab.uri, database.name, *arguments], cwd=ROOT, check=True)


def _product(lab: Lab, database: "Database[Document]", number: int) -> Sample:
    """Measure from the start of the daemon on."""
    equal = up_to_date(database.customers_anonymised, "changes", number)
    lab.rest()
    mongod_before, began = cpu_of(lab.mongod_pid), time.perf_counter()
    with running(lab.command(database), "start", "sync", healthy=False) as daemon:
        soon(equal, LONG_S, POLL_S, "the backlog in the mirror")
        seconds = time.perf_counter() - began
        return Sample(seconds, cpu_of_session(daemon.pid)(), cpu_of(lab.mongod_pid) - mongod_before)
