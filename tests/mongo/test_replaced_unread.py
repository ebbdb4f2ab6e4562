"""Named customers are replaced without reading their images, where that is safe; else these are read."""

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Decimal128, ObjectId, Timestamp
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure
from pymongo.monitoring import CommandStartedEvent

from procs.anonymise import Anonymiser
from procs.config import Database, Policy
from procs.copied import Copied
from procs.mirror import Mirror
from tests.mongo.customers import Customers, bytes_by_id, customer, ids
from tests.mongo.test_schedules import Converged

A, B, C = (ObjectId(bytes(11 * [1]) + bytes([last])) for last in (1, 2, 3))
"""Without the zeros by which an empty timestamp is looked for."""


class Reads(monitoring.CommandListener):
    """Counts the reads of one collection."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += event.command.get("find") == self.name

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture
def reads(database: Database) -> Reads:
    return Reads(database.mirror)


@pytest.fixture
def watched(database: Database, anonymise: Anonymiser, reads: Reads) -> Iterator[Mirror]:
    """A mirror whose reads are counted."""
    with MongoClient[Any](database.uri, event_listeners=[reads]) as client:
        opened = Mirror(client, database, anonymise, keep=True)
        opened.prepare()
        yield opened
        opened.close()


def test_customers_that_have_all_changed_are_replaced_without_reading_their_images(
    watched: Mirror, reads: Reads, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(A), customer(B)])
    watched.copy_ids(ids(A, B))
    source.update_many({}, {"$set": {"n": 2}})
    reads.count = 0

    copied = watched.copy_ids(ids(A, B))

    assert copied == Copied(scanned=2, replaced=2)
    assert reads.count == 0
    assert converged()


def test_ids_that_the_server_takes_for_equal_and_we_do_not_are_always_read(
    watched: Mirror, reads: Reads, source: Customers, converged: Converged
) -> None:
    source.insert_one(customer(1.0))
    watched.copy_ids(ids(1.0))
    source.delete_one({"_id": 1.0})
    source.insert_one(customer(1))
    reads.count = 0

    watched.copy_ids(ids(1))

    assert reads.count == 1
    assert converged()


def test_among_those_that_have_changed_the_rest_is_inserted_deleted_or_touched(
    mirror: Mirror, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(A), customer(B)])
    mirror.copy_ids(ids(A, B))
    source.update_one({"_id": A}, {"$set": {"n": 2}})
    source.insert_one(customer(C))

    copied = mirror.copy_ids(ids(A, B, C))

    assert copied == Copied(scanned=3, inserted=1, replaced=1, unchanged=1)
    assert converged()


def test_one_that_had_not_changed_is_touched_beside_one_that_had(
    client: MongoClient[Any], mirror: Mirror, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(A), customer(B)])
    mirror.copy_ids(ids(A, B))
    source.update_one({"_id": A}, {"$set": {"n": 2}})
    with client.start_session() as session:
        session.start_transaction()
        target.find_one({"_id": B}, session=session)
        mirror.copy_ids(ids(A, B))

        with pytest.raises(OperationFailure, match=r"Write ?[Cc]onflict"):
            target.update_one({"_id": B}, {"$set": {"n": 9}}, session=session)

    assert converged()


def test_a_customer_that_is_gone_is_deleted_beside_one_that_has_changed(
    mirror: Mirror, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(A), customer(B)])
    mirror.copy_ids(ids(A, B))
    source.update_one({"_id": A}, {"$set": {"n": 2}})
    source.delete_one({"_id": B})

    copied = mirror.copy_ids(ids(A, B))

    assert copied == Copied(scanned=1, replaced=1, deleted=1)
    assert converged()


def test_after_one_that_had_not_changed_images_are_read_first_until_all_differ_again(
    watched: Mirror, reads: Reads, source: Customers
) -> None:
    source.insert_one(customer(A))
    watched.copy_ids(ids(A))
    found = []
    for change in (False, True, True):
        if change:
            source.update_one({"_id": A}, {"$inc": {"n": 1}})
        reads.count = 0
        copied = watched.copy_ids(ids(A))
        found.append((copied.replaced, copied.unchanged, reads.count))

    assert found == [(0, 1, 1), (1, 0, 1), (1, 0, 0)]


@pytest.mark.parametrize(
    "odd",
    [
        {"at": Timestamp(0, 0)},
        {"$set": {"n": 1}},
        {"$n": 1, "at": Timestamp(0, 0)},
        {"n": float("nan")},
        {"n": Decimal128("1.10")},
        {"n": {"$gt": 1}},
        {"_id2": 1, "a.b": 1, "": 0},
    ],
)
def test_what_a_replacement_would_alter_or_refuse_is_carried_over_bit_for_bit(
    mirror: Mirror, source: Customers, target: Customers, converged: Converged, odd: dict[str, Any]
) -> None:
    source.insert_many([customer(A), customer(B)])
    mirror.copy_ids(ids(A, B))
    source.update_one({"_id": A}, [{"$replaceWith": {"$literal": {"_id": A, **odd}}}])
    source.replace_one({"_id": B}, {"n": 2})
    before = bytes_by_id(source)

    copied = mirror.copy_ids(ids(A, B))

    assert copied == Copied(scanned=2, replaced=2)
    assert bytes_by_id(target) == before
    assert converged()


def test_one_that_outgrows_16_mb_when_hashed_is_set_aside_and_the_others_are_replaced(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers, states: Customers
) -> None:
    mirror = Mirror(client, database, Anonymiser(Policy(fields=("names",), length=64)), keep=True)
    mirror.prepare()
    source.insert_many([{"_id": A, "n": 1}, {"_id": B, "n": 1}])
    mirror.copy_ids(ids(A, B))
    source.update_one({"_id": A}, {"$set": {"n": 2}})
    source.update_one({"_id": B}, {"$set": {"names": [""] * 400_000}})

    mirror.copy_ids(ids(A, B))

    assert list(target.find()) == [{"_id": A, "n": 2}]
    assert states.count_documents({"_id.kind": "unmirrorable"}) == 1
    mirror.close()


def test_one_that_a_validator_refuses_is_set_aside_and_taken_back_once_it_is_not_refused_any_more(
    client: MongoClient[Any],
    database: Database,
    mirror: Mirror,
    source: Customers,
    target: Customers,
    states: Customers,
    converged: Converged,
) -> None:
    source.insert_many([customer(A), customer(B)])
    mirror.copy_ids(ids(A, B))
    client[database.name].command("collMod", database.mirror, validator={"n": {"$lt": 5}})
    source.update_one({"_id": A}, {"$set": {"n": 2}})
    source.update_one({"_id": B}, {"$set": {"n": 9}})

    mirror.copy_ids(ids(A, B))
    left = [(found["_id"], found["n"]) for found in target.find()]
    set_aside = states.count_documents({"_id.kind": "unmirrorable"})
    source.update_one({"_id": B}, {"$set": {"n": 3}})
    mirror.copy_ids(ids(B))

    assert (left, set_aside) == ([(A, 2)], 1)
    assert states.count_documents({"_id.kind": "unmirrorable"}) == 0
    assert converged()
