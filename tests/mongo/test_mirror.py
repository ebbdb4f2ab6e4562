"""The two primitives of R1 against a real mongod."""

from typing import Any

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from procs.anonymise import Anonymiser
from procs.config import Database, Policy
from procs.copied import Copied
from procs.mirror import Mirror, SourceMissing
from tests.mongo.customers import EVERYTHING, Customers, bytes_by_id, customer, ids, images, walk


def test_copying_ids_inserts_replaces_and_deletes(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser
) -> None:
    source.insert_many([customer(1), customer(2), customer(4)])
    target.insert_many([{"_id": 2, "firstName": "stale"}, {"_id": 3}])
    mirror.copy_ids(ids(4))

    copied = mirror.copy_ids(ids(1, 2, 3, 4, 5))

    assert copied == Copied(scanned=3, inserted=1, replaced=1, deleted=1, unchanged=1)
    assert bytes_by_id(target) == images(source, anonymise)


def test_copying_ids_leaves_others_alone(mirror: Mirror, source: Customers, target: Customers) -> None:
    source.insert_many([customer(1), customer(2)])

    mirror.copy_ids(ids(2))

    assert [found["_id"] for found in target.find()] == [2]


def test_a_named_customer_without_difference_is_touched_and_keeps_its_bytes(
    client: MongoClient[Any], mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    mirror.copy_ids(ids(1))
    before = bytes_by_id(target)
    with client.start_session() as session:
        session.start_transaction()
        target.find_one({"_id": 1}, session=session)
        mirror.copy_ids(ids(1))

        with pytest.raises(Exception, match=r"Write ?[Cc]onflict"):
            target.update_one({"_id": 1}, {"$set": {"n": 2}}, session=session)

    assert bytes_by_id(target) == before


def test_a_named_absent_customer_is_touched_and_stays_absent(
    client: MongoClient[Any], mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    with client.start_session() as session:
        session.start_transaction()
        target.find_one({"_id": 7}, session=session)
        mirror.copy_ids(ids(7))

        with pytest.raises(Exception, match=r"Write ?[Cc]onflict"):
            target.insert_one({"_id": 7}, session=session)

    assert target.count_documents({}) == 0


def test_a_touch_survives_a_customer_that_has_a_field_of_the_touch_s_name(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser
) -> None:
    source.insert_one({"_id": 1, "_clientsync_touch": "mine"})
    mirror.copy_ids(ids(1))

    mirror.copy_ids(ids(1))

    assert bytes_by_id(target) == images(source, anonymise)


@pytest.mark.parametrize(("before", "after"), [(1, 1.0), (1.0, 1), ({"a": 1}, {"a": 1.0})])
def test_an_id_reinserted_with_another_numeric_type_is_mirrored_with_that_type(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser, before: Any, after: Any
) -> None:
    source.insert_one(customer(before))
    mirror.copy_ids(ids(before))
    source.delete_one({"_id": before})
    source.insert_one(customer(after))

    mirror.copy_ids(ids(before, after))
    mirror.copy_ids(ids(before, after))

    assert bytes_by_id(target) == images(source, anonymise)


def test_copying_a_range_repairs_everything_in_it_and_writes_only_differences(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    mirror.copy_ids(ids(*range(10)))
    target.delete_one({"_id": 3})
    target.update_one({"_id": 4}, {"$set": {"n": 99}})
    target.insert_one({"_id": 100})

    copied, rest = mirror.copy_range(EVERYTHING, limit=1000)

    assert (copied, rest) == (Copied(scanned=10, inserted=1, replaced=1, deleted=1, unchanged=8), None)
    assert bytes_by_id(target) == images(source, anonymise)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_chunks_of_any_size_cover_ids_of_every_type(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser, limit: int
) -> None:
    odd: list[Any] = [None, 1, 2.5, 10**12, "a", "b", {"x": 1}, b"bytes", True, False]
    source.insert_many([customer(each) for each in [*range(20, 30), *odd]])
    target.insert_many([{"_id": each} for each in [*range(100, 130), "aa", {"y": 1}]])

    copied, _ = walk(mirror, limit)

    assert bytes_by_id(target) == images(source, anonymise)
    assert (copied.scanned, copied.inserted, copied.deleted) == (20, 20, 32)


def test_many_mirror_documents_without_a_source_are_removed_in_bounded_chunks(
    mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_many([customer(0), customer(10_000)])
    target.insert_many([{"_id": each} for each in range(1, 2_000)])

    copied, chunks = walk(mirror, limit=500)

    assert copied.deleted == 1_999
    assert chunks >= 4


def test_documents_larger_than_one_reply_are_copied_by_id_and_by_range(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser
) -> None:
    for each in range(5):
        source.insert_one({"_id": each, "firstName": "John", "blob": b"x" * 7_000_000})

    mirror.copy_ids(ids(*range(4)))
    walk(mirror, limit=1000)

    assert bytes_by_id(target) == images(source, anonymise)


def test_a_customer_that_outgrows_16_mb_when_hashed_is_left_out_and_never_blocks_the_others(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    anonymise = Anonymiser(Policy(fields=("names",), length=64))
    mirror = Mirror(client, database, anonymise, keep=True)
    mirror.prepare()
    source.insert_many([{"_id": 1}, {"_id": 2, "names": [""] * 400_000}, {"_id": 3}])
    target.insert_one({"_id": 2})

    walk(mirror, limit=1000)
    left_out = [found["_id"] for found in target.find(sort=[("_id", 1)])]
    source.update_one({"_id": 2}, {"$set": {"names": []}})
    mirror.retry_unmirrorable()

    assert left_out == [1, 3]
    assert target.count_documents({"_id": 2}) == 1
    assert client[database.name]["clientsync_state"].count_documents({"_id.kind": "unmirrorable"}) == 0
    mirror.close()


def test_a_validator_of_the_mirror_keeps_out_only_what_it_refuses(
    client: MongoClient[Any], database: Database, anonymise: Anonymiser, source: Customers, target: Customers
) -> None:
    client[database.name].create_collection(database.mirror, validator={"n": {"$lt": 5}})
    mirror = Mirror(client, database, anonymise, keep=True)
    mirror.prepare()
    source.insert_many([customer(1), {"_id": 2, "n": 9}, customer(3)])

    mirror.copy_ids(ids(1, 2, 3))
    walk(mirror, limit=10)
    mirror.copy_ids(ids(1, 2, 3, 4))

    assert [found["_id"] for found in target.find(sort=[("_id", 1)])] == [1, 3]
    assert client[database.name]["clientsync_state"].count_documents({"_id.kind": "unmirrorable"}) == 1
    mirror.close()


def test_a_source_that_does_not_exist_empties_nothing(mirror: Mirror, target: Customers) -> None:
    target.insert_one({"_id": 1})

    with pytest.raises(SourceMissing):
        mirror.copy_range(EVERYTHING, limit=10)
    with pytest.raises(SourceMissing):
        mirror.copy_ids(ids(1))

    assert target.count_documents({}) == 1


def test_r5_the_source_is_never_written(mirror: Mirror, source: Customers) -> None:
    source.insert_many([RawBSONDocument(encode(customer(each))) for each in range(5)])
    before = bytes_by_id(source)

    mirror.copy_ids(ids(*range(7)))
    walk(mirror, limit=2)

    assert bytes_by_id(source) == before
