"""Copies go on while the source is dropped, made again and renamed: the server must outlive that."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.mirror import Mirror
from tests.mongo.customers import customer, ids
from tests.mongod_process import MongodProcess

Client = MongoClient[dict[str, Any]]

COPIES, ROUNDS = 300, 50
"""With a $lookup in its transactions MongoDB 6.0.5 was gone within a second (`_requests.empty()`)."""


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[MongodProcess]:
    """A server that is no other test's."""
    with MongodProcess(tmp_path) as mongod:
        yield mongod


def is_alive(mongod: MongodProcess) -> bool:
    return mongod.process is not None and mongod.process.poll() is None


@contextmanager
def over_and_over(act: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Have it done beside the block, whatever MongoDB answers; yield how often it went through."""
    over, rounds = threading.Event(), list[Callable[[], None]]()

    def go_on() -> None:
        while not over.is_set():
            with suppress(PyMongoError):
                act()
                rounds.append(act)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield lambda: len(rounds)
    finally:
        over.set()
        thread.join()


def come_and_go(client: Client, database: Database) -> None:
    source = client[database.name][database.source]
    client[database.name]["away"].drop()  # of a round that was cut short
    source.drop()
    source.insert_one(customer(1))
    source.rename("away")
    source.insert_one(customer(2))
    client[database.name]["away"].rename(source.name, dropTarget=True)
    source.drop()


def test_a_server_outlives_copies_beside_drops_and_renames_of_the_source(
    fragile: MongodProcess, anonymise: Anonymiser
) -> None:
    database = Database(fragile.uri, "clientsync", "customers", "customers_anonymised", timeout_ms=2_000)
    with Client(fragile.uri, timeoutMS=2_000) as client:
        mirror = Mirror(client, database, anonymise, keep=False)
        mirror.prepare()

        with over_and_over(lambda: come_and_go(client, database)) as rounds:
            copies = 0
            while copies < COPIES or rounds() < ROUNDS:
                with suppress(PyMongoError):
                    mirror.copy_ids(ids(1, 2, 3))
                    copies += 1
                assert is_alive(fragile)

        mirror.close()
