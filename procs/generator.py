"""Fills the source with fake customers, a batch of random size at a steady rate."""

import time
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from procs import preflight
from procs.config import GeneratorConfig
from procs.customers import Customers
from procs.errors import TemporaryError
from procs.lifeline import Lifeline
from procs.mongo import Stopped, connect, ride_out

MOST_AT_ONCE = 1000
"""Customers in one insert: a batch of any size stays within the time-out of a call, and beats."""

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
                batch = customers.batch(min(missing, MOST_AT_ONCE))
                inserted += ride_out(life, partial(add, batch))
                missing -= len(batch)
                life.beat("generating", ready=True, inserted_total=inserted)
                if missing:
                    life.wait(0)
            begun = pause(life, begun)


def insert(source: "Collection[dict[str, Any]]", customers: list[dict[str, Any]]) -> int:
    """Insert `customers`; safe to repeat with the same list after an error that left it open what came of it.

    The first call puts an `_id` into each, so that a repeat meets those that arrived as duplicates. Those
    that a unique index of the source refuses (two of the same e-mail, say) are left out. Returns how many of
    them are there now.
    """
    try:
        source.insert_many(customers, ordered=False)
    except BulkWriteError as error:
        refused = [each for each in error.details["writeErrors"] if not _is_there(each)]
        codes = {each["code"] for each in refused} - {DUPLICATE_KEY}
        if DOCUMENT_VALIDATION_FAILED in codes:
            raise TemporaryError(
                f"SOURCE_COLLECTION: {source.name} refuses the fake customers "
                f"(code {DOCUMENT_VALIDATION_FAILED}); `start sync` adds none"
            ) from None
        if codes or error.details["writeConcernErrors"]:
            raise
        return len(customers) - len(refused)
    return len(customers)


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
