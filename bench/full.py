"""How fast is `--full`? Beside a raw copy: read in `_id` order, insert 1000 at a time, nothing else."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from procs import mongod
from procs.customers import Customers

BATCH = 1000
Measure = Callable[[], float]


def measure(customers: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds per round: the raw copy, and `--full` into an empty and onto an equal mirror."""
    with (
        tempfile.TemporaryDirectory() as directory,
        mongod.running(Path(directory) / "mongod") as uri,
        MongoClient[dict[str, Any]](uri) as client,
    ):
        database = client["bench"]
        made = Customers("en_US", seed=1)
        for _ in range(0, customers, BATCH):
            database.customers.insert_many(made.batch(BATCH))
        seconds: dict[str, list[float]] = {"raw copy": [], "--full, empty": [], "--full, equal": []}
        for _ in range(rounds):
            database.drop_collection("raw")
            seconds["raw copy"].append(_timed(lambda: _raw_copy(database)))
            database.drop_collection("customers_anonymised")
            for name in ("--full, empty", "--full, equal"):
                seconds[name].append(_timed(lambda: _full(uri, directory)))
    return seconds


def _timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _raw_copy(database: Any) -> None:
    raw = CodecOptions(document_class=RawBSONDocument)
    target = database.get_collection("raw", codec_options=raw)
    batch: list[RawBSONDocument] = []
    for document in database.get_collection("customers", codec_options=raw).find(sort=[("_id", 1)]):
        batch.append(document)
        if len(batch) == BATCH:
            target.insert_many(batch, ordered=False)
            batch = []
    if batch:
        target.insert_many(batch, ordered=False)


def _full(uri: str, directory: str) -> None:
    command = [str(Path(sys.executable).with_name("clientsync-supervisor")), "start", "--full"]
    settings = {"MONGO_URI": uri, "MONGO_DB": "bench", "STATE_DIR": directory, "LOG_LEVEL": "ERROR"}
    subprocess.run(
        command, env={**os.environ, **settings}, cwd=directory, check=True, stdout=subprocess.DEVNULL
    )
