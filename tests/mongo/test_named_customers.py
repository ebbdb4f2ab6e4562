"""Named customers at the limits of what the server stores and replies."""

import pytest
from bson.raw_bson import RawBSONDocument

from procs import rawbson
from procs.messages import Id
from procs.mirror import Mirror
from procs.selection import id_of
from tests.mongo.customers import Customers, ids
from tests.mongo.test_schedules import Converged

DEEPEST = 178
"""Documents in documents that a server stores; 180 it does not."""


def nested(depth: int) -> bytes:
    """Return a customer 1 with documents in documents."""
    inner = rawbson.document([])
    for _ in range(depth):
        inner = rawbson.document([(b"n", b"\x03" + inner)])
    return rawbson.document([(b"_id", rawbson.value(1)), (b"deep", b"\x03" + inner)])


def insert(source: Customers, document: bytes) -> Id:
    source.insert_one(RawBSONDocument(document))
    return id_of(document)


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
