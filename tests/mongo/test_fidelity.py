"""R1, bit for bit: customers that the server would change, refuse or find too large if written plainly."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import Timestamp, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs.anonymise import Anonymiser
from procs.config import Database, Policy
from procs.copied import Copied
from procs.errors import PermanentError, describe
from procs.mirror import Mirror
from procs.writes import MAX_DOCUMENT
from tests.eventually import eventually
from tests.mongo.customers import EVERYTHING, Customers, bytes_by_id, customer, ids, images, walk
from tests.mongo.sync_group import POLICY


@pytest.mark.parametrize(
    "odd", [{"at": Timestamp(0, 0)}, {"$price": 1}, {"a.b": 1, "$c": {"$d": 1}, "at": Timestamp(0, 0)}]
)
def test_a_customer_that_the_server_would_change_or_refuse_is_mirrored_as_it_is(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser, odd: dict[str, Any]
) -> None:
    def put(n: int) -> None:
        whole = RawBSONDocument(encode({"_id": 1, "n": n, "firstName": "John", **odd}))
        source.update_one({"_id": 1}, [{"$replaceWith": {"$literal": whole}}], upsert=True)

    put(1)
    mirror.copy_ids(ids(1))
    inserted = bytes_by_id(target) == images(source, anonymise)
    put(2)
    mirror.copy_ids(ids(1))

    assert inserted
    assert bytes_by_id(target) == images(source, anonymise)
    assert walk(mirror, 10)[0] == Copied(scanned=1, unchanged=1)


def test_a_customer_of_the_largest_size_is_inserted_touched_and_replaced(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser
) -> None:
    room = MAX_DOCUMENT - len(encode({"_id": 1, "blob": b""}))
    source.insert_one({"_id": 1, "blob": b"x" * room})

    mirror.copy_ids(ids(1))
    mirror.copy_ids(ids(1))
    touched = bytes_by_id(target) == images(source, anonymise)
    source.replace_one({"_id": 1}, {"blob": b"y" * room})
    mirror.copy_ids(ids(1))

    assert touched
    assert bytes_by_id(target) == images(source, anonymise)


def test_a_validator_that_is_added_later_does_not_cost_the_customers_that_it_allows(
    client: MongoClient[Any], database: Database, mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_many([customer(each) for each in range(4)])
    mirror.copy_ids(ids(*range(4)))
    allowed: dict[str, Any] = {name: {} for name in ("_id", "firstName", "email", "n")}
    schema = {"properties": allowed, "additionalProperties": False}
    client[database.name].command("collMod", database.mirror, validator={"$jsonSchema": schema})

    mirror.copy_ids(ids(*range(4)))

    assert target.count_documents({}) == 4


def test_a_customer_that_could_not_be_mirrored_is_forgotten_once_it_is_deleted(
    client: MongoClient[Any], database: Database, source: Customers, states: Customers
) -> None:
    mirror = Mirror(client, database, Anonymiser(Policy(fields=("names",), length=64)), keep=True)
    mirror.prepare()
    source.insert_one({"_id": 2, "names": [""] * 400_000})
    mirror.copy_ids(ids(2))
    remembered = states.count_documents({"_id.kind": "unmirrorable"})
    source.delete_one({"_id": 2})

    mirror.copy_ids(ids(2))

    assert remembered == 1
    assert states.count_documents({"_id.kind": "unmirrorable"}) == 0
    mirror.close()


def test_a_unique_index_of_the_mirror_stops_nobody_but_whom_it_refuses(
    mirror: Mirror, source: Customers, target: Customers
) -> None:
    target.create_index("email", unique=True)
    source.insert_many([{"_id": 1}, {"_id": 2}, customer(3)])

    mirror.copy_ids(ids(1, 2, 3, "gone already"))
    walk(mirror, 10)

    assert [found["_id"] for found in target.find(sort=[("_id", 1)])] == [1, 3]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_source_with_a_collation_is_mirrored_in_its_order_though_it_is_made_after_the_mirror(
    client: MongoClient[Any],
    database: Database,
    mirror: Mirror,
    source: Customers,
    target: Customers,
    anonymise: Anonymiser,
    limit: int,
) -> None:
    client[database.name].create_collection(database.source, collation={"locale": "en", "strength": 2})
    source.insert_many([customer(each) for each in ("a", "B", "c", "D", "e")])
    mirror.prepare()

    walk(mirror, limit)
    walk(mirror, limit)

    assert bytes_by_id(target) == images(source, anonymise)


def test_a_mirror_in_another_order_than_the_source_is_refused(
    client: MongoClient[Any], database: Database, mirror: Mirror, target: Customers
) -> None:
    client[database.name].create_collection(database.source, collation={"locale": "en", "strength": 2})
    target.insert_one({"_id": "a"})

    with pytest.raises(PermanentError, match="MIRROR_COLLECTION has another collation"):
        mirror.prepare()


@pytest.mark.parametrize("by_range", [True, False])
def test_what_takes_longer_than_the_time_out_is_copied_in_smaller_pieces(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    anonymise: Anonymiser,
    by_range: bool,
) -> None:
    class Slow(Anonymiser):
        def all(self, docs: Sequence[bytes]) -> bytes:
            # A machine so slow that a hundred of them are too many for one transaction.
            time.sleep(0.02 * len(docs))
            return super().all(docs)

    source.insert_many([customer(each) for each in range(100)])
    mirror = Mirror(client, replace(database, timeout_ms=1000), Slow(POLICY), keep=True)
    mirror.prepare()

    def copied() -> bool:
        try:
            if by_range:
                mirror.copy_range(EVERYTHING, 100)
            else:
                mirror.copy_ids(ids(*range(100)))
        except PyMongoError as error:
            assert error.timeout, describe(error)
            return False
        return True

    eventually(copied)
    walk(mirror, 10)

    assert bytes_by_id(target) == images(source, anonymise)
    mirror.close()


def test_one_copy_of_many_large_customers_gives_signs_of_life(
    client: MongoClient[Any], database: Database, source: Customers, anonymise: Anonymiser
) -> None:
    beats: list[float] = []
    mirror = Mirror(client, database, anonymise, keep=True, beat=lambda: beats.append(time.monotonic()))
    mirror.prepare()
    for each in range(6):
        source.insert_one({"_id": each, "blob": b"x" * 7_000_000})

    mirror.copy_ids(ids(*range(6)))

    assert len(beats) >= 3
    mirror.close()
