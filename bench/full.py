"""How fast is `--full`? Beside a raw copy: read in `_id` order, insert 1000 at a time, nothing else.

The start-up of the product counts; that of the raw copy does not.
"""

from typing import Any

from pymongo.database import Database

from bench.lab import RAW, Document, Lab, fill, raw_copy
from bench.rows import Goal, Row, Sample, per_second

COPY, COMPARE = "raw copy", "raw read of both sides"


def answer(lab: Lab) -> list[Row]:
    """Measure `--full` into an empty mirror, and onto an equal and a slightly different one."""
    count = lab.pick(20_000, 200_000)
    database = lab.client["full"]
    fill(database.customers, count)
    command = lab.command(database)
    seconds: dict[str, list[Sample]] = {}
    written: list[Sample] = []

    def measure(name: str, action: Any) -> None:
        seconds.setdefault(name, []).append(lab.measure(action))

    for _ in range(lab.rounds):
        database.drop_collection("raw")
        measure(COPY, lambda: raw_copy(database.customers, "raw"))
        database.drop_collection("customers_anonymised")
        measure("--full, empty mirror", lambda: lab.full(command))
        measure(COMPARE, lambda: _read_both(database))
        before = now(database)
        measure("--full, equal mirror", lambda: lab.full(command))
        written.append(Sample(writes_since(database, before)))
        _spoil(database)
        measure("--full, 1 % differing", lambda: lab.full(command))
        assert database.customers_anonymised.find_one({"firstName": "stale"}) is None
    lab.verified(command)

    goals = {"--full, empty mirror": 0.75, "--full, equal mirror": 1.0, "--full, 1 % differing": 0.9}
    rows = [
        Row(
            name,
            "customers/s",
            per_second(count, samples),
            floor=None if name == COPY else COPY,
            goal=Goal("ratio", "≥", goals[name]) if name in goals else None,
        )
        for name, samples in seconds.items()
    ]
    equal = Row("--full, equal mirror: writes to it in the oplog", "", written, goal=Goal("median", "≤", 0))
    return [*rows, equal]


def writes_since(database: "Database[Document]", moment: Any) -> int:
    """Return how many writes to the mirror the oplog has, in transactions and outside."""
    mirror = f"{database.name}.customers_anonymised"
    inside = {"$filter": {"input": "$o.applyOps", "cond": {"$eq": ["$$this.ns", mirror]}}}
    found = database.client["local"]["oplog.rs"].aggregate(
        [
            {"$match": {"ts": {"$gt": moment}, "$or": [{"ns": mirror}, {"o.applyOps.ns": mirror}]}},
            {"$set": {"n": {"$cond": [{"$eq": ["$ns", mirror]}, 1, {"$size": inside}]}}},
            {"$group": {"_id": None, "n": {"$sum": "$n"}}},
        ]
    )
    return sum(each["n"] for each in found)


def now(database: "Database[Document]") -> Any:
    """Return the moment of the last write, as the oplog counts."""
    return database.client.admin.command("hello")["lastWrite"]["opTime"]["ts"]


def _spoil(database: "Database[Document]") -> None:
    """Make every hundredth image wrong."""
    ids = [each["_id"] for each in database.customers.find({}, {"_id": 1}, sort=[("_id", 1)])][::100]
    for first in range(0, len(ids), 1000):
        chosen = {"_id": {"$in": ids[first : first + 1000]}}
        database.customers_anonymised.update_many(chosen, {"$set": {"firstName": "stale"}})


def _read_both(database: "Database[Document]") -> None:
    for name in ("customers", "customers_anonymised"):
        for _ in database.get_collection(name, codec_options=RAW).find(sort=[("_id", 1)]):
            pass
