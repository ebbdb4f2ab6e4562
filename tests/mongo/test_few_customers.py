"""A few named customers are read in one round trip with the registration: the same bytes."""

from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from procs import rawbson
from procs.anonymise import Anonymiser
from procs.config import Database
from procs.messages import Id
from procs.mirror import FEW, Mirror
from procs.selection import id_of
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.test_schedules import Converged

DEEPEST = 178
"""Documents in documents that a server stores; 180 it does not."""


class Commands(CommandListener):
    """The names of the commands that a client sends."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: object) -> None:
        """Nothing to note."""

    def failed(self, event: object) -> None:
        """Nothing to note."""


def nested(depth: int) -> bytes:
    """Return a customer 1 with documents in documents."""
    inner = rawbson.document([])
    for _ in range(depth):
        inner = rawbson.document([(b"n", b"\x03" + inner)])
    return rawbson.document([(b"_id", rawbson.value(1)), (b"deep", b"\x03" + inner)])


def insert(source: Customers, document: bytes) -> Id:
    source.insert_one(RawBSONDocument(document))
    return id_of(document)


def test_a_change_of_one_customer_takes_three_round_trips(
    database: Database, anonymise: Anonymiser, source: Customers, converged: Converged
) -> None:
    commands = Commands()
    with MongoClient[dict[str, Any]](database.uri, event_listeners=[commands]) as client:
        mirror = Mirror(client, database, anonymise, keep=True)
        mirror.prepare()
        source.insert_one(customer(1, "A"))
        mirror.copy_ids(ids(1))
        source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})
        commands.names.clear()

        mirror.copy_ids(ids(1))

        assert commands.names == ["aggregate", "update", "commitTransaction"]
        assert converged()
        mirror.close()


@pytest.mark.parametrize("depth", [150, DEEPEST - 3, DEEPEST - 2, DEEPEST - 1, DEEPEST])
def test_a_customer_that_is_nested_as_deeply_as_can_be_is_mirrored(
    source: Customers, mirror: Mirror, converged: Converged, depth: int
) -> None:
    wanted = insert(source, nested(depth))

    mirror.copy_ids([wanted])

    assert converged()


@pytest.mark.parametrize("sizes", [(9, 9), (15.9,), (6, 6, 6), (1,) * 20])
def test_customers_that_are_together_larger_than_a_document_are_mirrored_and_changed(
    source: Customers, mirror: Mirror, converged: Converged, sizes: tuple[float, ...]
) -> None:
    wanted = ids(*range(len(sizes)))
    for number, megabytes in enumerate(sizes):
        source.insert_one({"_id": number, "pad": "x" * int(megabytes * 1024 * 1024)})
    mirror.copy_ids(wanted)
    source.update_many({}, {"$set": {"n": 1}})

    mirror.copy_ids(wanted)

    assert converged()


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_few_and_many_are_mirrored_alike(
    source: Customers, mirror: Mirror, converged: Converged, count: int
) -> None:
    source.insert_many([customer(number) for number in range(count)])
    mirror.copy_ids(ids(*range(count)))
    source.update_many({"_id": {"$mod": [3, 0]}}, {"$set": {"firstName": "B"}})
    source.delete_many({"_id": {"$mod": [3, 1]}})

    mirror.copy_ids(ids(*range(count + 5)))

    assert converged()
