"""Fills the source with fake customers, a batch of random size at a steady rate."""

import time
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, WriteConcernError

from procs import preflight
from procs.config import GeneratorConfig
from procs.customers import Customers
from procs.errors import TemporaryError
from procs.lifeline import Lifeline
from procs.mongo import Stopped, connect, ride_out

MOST_AT_ONCE = 1000
"""Customers in one insert: a batch of any size stays within the time-out of a call, and beats."""

COUNTER = count()

DUPLICATE_KEY, DOCUMENT_VALIDATION_FAILED = 11000, 121


def run(life: Lifeline[GeneratorConfig]) -> None:
    """Be the generator until a stop is asked for.

    Raises PermanentError, TemporaryError if a validator refuses a customer, or the server's error.
    """
    config = life.config
    customers = Customers(config.locale, config.seed)
    sizes = Random(config.seed)
    inserted = 0
    with connect(config.database, "generator") as client, suppress(Stopped):
        source = client[config.database.name][config.database.source]

        def add(batch: list[dict[str, Any]]) -> int:
            with preflight.right("insert", config.database, source.name):
                return insert(source, batch)

        ride_out(life, partial(preflight.check_server, client, config.database))
        begun = time.monotonic()
        while not life.stopping:
            missing = sizes.randint(life.config.batch_min, life.config.batch_max)
            while missing and not life.stopping:
                batch = with_ids(customers.batch(min(missing, MOST_AT_ONCE)))
                added = ride_out(life, partial(add, batch))
                inserted += added
                life.meters.count("customers_generated", added)
                missing -= len(batch)
                life.beat("generating", ready=True, inserted_total=inserted)
                if missing:
                    life.wait(0)
            begun = pause(life, begun)


def with_ids(customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `customers`, each with a new `_id`, five times as fast as one ObjectId() after the other."""
    now_and_here = ObjectId().binary[:9]
    ids = (ObjectId(now_and_here + (n % 2**24).to_bytes(3, "big")) for n in COUNTER)
    return [{"_id": id_, **customer} for customer, id_ in zip(customers, ids, strict=False)]


def insert(source: "Collection[dict[str, Any]]", customers: list[dict[str, Any]]) -> int:
    """Insert `customers`; safe to repeat with the same list after an error that left it open what came of it.

    A repeat meets those that arrived as duplicates of their `_id`. Those that a unique index of the source
    refuses (two of the same e-mail, say) are left out. Returns how many of them are there now.
    """
    # The bare command: insert_many takes half as long again to wrap each customer for a bulk of any size.
    reply = source.database.command(
        "insert", source.name, documents=customers, ordered=False, writeConcern=source.write_concern.document
    )
    refused = [each for each in reply.get("writeErrors", ()) if not _is_there(each)]
    codes = {each["code"] for each in refused} - {DUPLICATE_KEY}
    if DOCUMENT_VALIDATION_FAILED in codes:
        raise TemporaryError(
            f"SOURCE_COLLECTION: {source.name} refuses the fake customers "
            f"(code {DOCUMENT_VALIDATION_FAILED}); `start sync` adds none"
        )
    if codes:
        raise BulkWriteError(reply)
    if unsure := reply.get("writeConcernError"):
        raise WriteConcernError("not by a majority yet", unsure["code"], reply)
    return len(customers) - len(refused)


def _is_there(error: dict[str, Any]) -> bool:
    return error["code"] == DUPLICATE_KEY and error.get("keyPattern") == {"_id": 1}


def pause(life: Lifeline[GeneratorConfig], begun: float) -> float:
    """Wait until the batch after the one of `begun` is due; return when that is (monotonic seconds).

    A batch that took too long delays the next one, never a burst that catches up.
    """
    while True:
        delay = life.config.delay_ms / 1000
        late = time.monotonic() - begun - delay
        life.wait(-late)
        if life.stopping or late >= 0:
            return begun + delay + (late if late >= delay else 0.0)
