"""How many customers a second does the generator add (no delay, batches of 1000)?

Beside Faker alone, which writes nothing, and `insert_many` of customers that are ready made.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from faker import Faker
from pymongo.database import Database

from bench.lab import Document, Lab, cpu_of, cpu_of_session, own_cpu, running, soon
from bench.rows import Goal, Row, Sample
from procs.customers import Customers

BATCH = 1000
READY = "insert_many of ready-made customers"
SETTINGS = {
    "FAKER_FILLING_DELAY_MS": "0",
    "FAKER_BATCH_MIN": str(BATCH),
    "FAKER_BATCH_MAX": str(BATCH),
    "FAKER_SEED": "1",
}
FIELDS = ("lastName", "email", "line1", "city")


def answer(lab: Lab) -> list[Row]:
    """Measure each for the same seconds, in turn; then count how varied the customers are."""
    seconds = lab.pick(1.5, 4.0)
    database = lab.client["generator"]
    fakers = {
        "Faker alone, weighted": Faker("en_US", use_weighting=True),
        "Faker alone, unweighted": Faker("en_US", use_weighting=False),
    }
    samples: dict[str, list[Sample]] = {}
    for _ in range(lab.rounds):
        for name, faker in fakers.items():
            samples.setdefault(name, []).append(_count(lab, seconds, partial(_make, faker)))
        database.drop_collection("customers")
        ready = Customers("en_US", seed=1).batch(BATCH)
        insert = _inserter(database, ready)
        samples.setdefault(READY, []).append(_count(lab, seconds, insert))
        database.drop_collection("customers")
        samples.setdefault("generator", []).append(_generate(lab, database, seconds))
    rows = [
        Row(
            name,
            "customers/s",
            found,
            READY if name != READY else None,
            Goal("median", "≥", 30_000) if name == "generator" else None,
        )
        for name, found in samples.items()
    ]
    return [*rows, *_variety(lab.pick(2_000, 20_000), fakers["Faker alone, unweighted"])]


def _count(lab: Lab, seconds: float, make: Callable[[], int]) -> Sample:
    lab.rest()
    cpu, mongod, began, made = own_cpu(), cpu_of(lab.mongod_pid), time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        made += make()
    return Sample(made / took, own_cpu() - cpu, cpu_of(lab.mongod_pid) - mongod)


def _make(faker: Faker) -> int:
    _plain(faker)
    return 1


def _inserter(database: "Database[Document]", ready: list[Document]) -> Callable[[], int]:
    def insert() -> int:
        database.customers.insert_many([dict(each) for each in ready], ordered=False)
        return len(ready)

    return insert


def _generate(lab: Lab, database: "Database[Document]", seconds: float) -> Sample:
    """Count what the running generator adds, its start left out."""
    size = database.customers.estimated_document_count
    with running(lab.command(database, **SETTINGS), "start", "app") as daemon:
        soon(lambda: size() >= 5 * BATCH, 30, 0.01, "the first customers")
        cpu_now = cpu_of_session(daemon.pid)
        cpu, mongod, began, before = cpu_now(), cpu_of(lab.mongod_pid), time.perf_counter(), size()
        time.sleep(seconds)
        made, took = size() - before, time.perf_counter() - began
        return Sample(made / took, cpu_now() - cpu, cpu_of(lab.mongod_pid) - mongod)


def _plain(faker: Faker) -> Document:
    """Return a customer as Faker makes one, part by part."""
    return {
        "firstName": faker.first_name(),
        "lastName": faker.last_name(),
        "email": faker.email(),
        "address": {
            "line1": faker.street_address(),
            "line2": faker.secondary_address(),
            "postcode": faker.postcode(),
            "city": faker.city(),
            "state": faker.state(),
            "country": faker.current_country(),
        },
    }


def _variety(count: int, faker: Faker) -> list[Row]:
    """Count the different values of each field in so many customers."""
    made = Customers("en_US", seed=1)
    plain = _different([_plain(faker) for _ in range(count)])
    ours = _different(made.batch(count))
    rows = []
    for field in FIELDS:
        floor = f"Faker alone: different values of {field} in {count:,} customers"
        rows.append(Row(floor, "", [Sample(plain[field])]))
        rows.append(Row(f"generator: the same of {field}", "", [Sample(ours[field])], floor))
    return rows


def _different(customers: list[Any]) -> dict[str, int]:
    flat = [{**each, **each["address"]} for each in customers]
    return {field: len({each[field] for each in flat}) for field in FIELDS}
