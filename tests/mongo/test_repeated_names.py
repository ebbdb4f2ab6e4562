"""Customers in whom a field name occurs twice: MongoDB stores them, and 6.0.5 ends if an update by a pipeline
has to tell two such documents apart (invariant in document_diff_serialization.h).
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from procs import rawbson
from procs.anonymise import Anonymiser
from procs.mirror import Mirror
from procs.mongo import RAW
from tests.mongo.customers import EVERYTHING, Customers, bytes_by_id, ids, images

Fields = list[tuple[bytes, bytes]]
NEVER = Timestamp(0, 0)
"""An insert and a replacement put the present time in its place."""

ONE, TWO, THREE = map(rawbson.value, (1, 2, 3))
KINDS: dict[str, Fields] = {
    "each once": [(b"a", ONE)],
    "twice": [(b"a", ONE), (b"a", TWO)],
    "twice, changed": [(b"a", THREE), (b"b", ONE), (b"a", ONE)],
    "twice inside": [(b"in", b"\x03" + rawbson.document([(b"a", ONE), (b"a", TWO)])), (b"$b", ONE)],
    "dollar": [(b"$a", ONE), (b"b", TWO)],
    "dollar twice": [(b"$a", TWO), (b"$a", THREE), (b"b", ONE)],
    "twice beside dollar": [(b"$b", ONE), (b"a", TWO), (b"a", ONE)],
    "never": [(b"never", ONE), (b"a", ONE)],
    "twice beside never": [(b"a", TWO), (b"never", ONE), (b"a", ONE)],
}


PAIRS = list(itertools.permutations(KINDS, 2))


def put(source: Customers, fields_by_id: dict[Any, Fields]) -> None:
    """Have exactly these customers; in the first field `never` of each stands NEVER."""
    source.delete_many({})
    for one, fields in fields_by_id.items():
        raw = rawbson.document([(b"_id", rawbson.value(one)), *fields])
        source.with_options(RAW).insert_one(RawBSONDocument(raw))
    source.update_many({"never": {"$exists": True}}, {"$set": {"never": NEVER}})


@pytest.mark.parametrize("how", ["named", "walked"])
@pytest.mark.parametrize(
    "number", [int, lambda number: ObjectId(f"{number:024}")], ids=["number", "ObjectId"]
)
def test_customers_with_repeated_names_become_each_other_and_mongodb_lives(
    mirror: Mirror,
    source: Customers,
    target: Customers,
    anonymise: Anonymiser,
    number: Callable[[int], Any],
    how: str,
) -> None:
    customers = [number(each) for each in range(len(PAIRS))]
    copy: Callable[[], object] = {
        "named": lambda: mirror.copy_ids(ids(*customers)),
        "walked": lambda: mirror.copy_range(EVERYTHING, len(PAIRS)),
    }[how]
    put(source, {one: KINDS[before] for one, (before, _) in zip(customers, PAIRS, strict=True)})
    copy()
    put(source, {one: KINDS[after] for one, (_, after) in zip(customers, PAIRS, strict=True)})

    copy()
    copy()  # named customers that are equal are touched

    assert bytes_by_id(target) == images(source, anonymise)


@pytest.mark.parametrize("before", [None, *KINDS])
def test_a_customer_with_an_empty_timestamp_whose_name_is_repeated_is_set_aside(
    mirror: Mirror,
    source: Customers,
    target: Customers,
    states: Customers,
    one: Any,
    before: str | None,
) -> None:
    put(source, {one: KINDS[before]} if before else {})
    mirror.copy_ids(ids(one))
    put(source, {one: [(b"never", ONE), (b"never", TWO)]})

    mirror.copy_ids(ids(one))

    assert target.count_documents({}) == 0
    assert [each["code"] for each in states.find({"_id.kind": "unmirrorable"})] == [2]
