"""R1: a mirror with far more customers than the source ever had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from tests.faults.effort import IN_FULL
from tests.mongo.customers import Customers
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Run = Callable[..., DaemonProcess]

ORPHANS = 400_000 if IN_FULL else 100_000
BATCH = 5_000
MEMORY_KB = 120_000


def most_memory_kb(pid: int) -> int:
    """Return the highest resident size that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def largest_transaction(client: MongoClient[Any], namespace: str) -> int:
    """Return how many writes on `namespace` the largest transaction made."""
    largest = {"$group": {"_id": None, "size": {"$max": {"$size": "$o.applyOps"}}}}
    found = client.local["oplog.rs"].aggregate([{"$match": {"o.applyOps.ns": namespace}}, largest])
    return int(next(found)["size"])


def test_r1_images_without_a_customer_are_removed_in_many_transactions_however_many_they_are(
    client: MongoClient[Any], connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(-1), customer(ORPHANS / 2 + 0.5), customer(ORPHANS)])
    mirror.insert_many(RawBSONDocument(encode({"_id": each})) for each in range(ORPHANS))

    daemon = run(connected.having(SYNC_BATCH_SIZE=str(BATCH)), "start", "sync")
    daemon.wait_for("scan_done", 300)

    assert are_twins(source, mirror)
    assert daemon.events("scan_done")[0]["deleted"] == ORPHANS
    assert largest_transaction(client, mirror.full_name) <= 2 * BATCH  # of source and mirror each
    assert max(most_memory_kb(pid) for pid in daemon.pids().values()) < MEMORY_KB
