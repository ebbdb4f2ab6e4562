"""R1: whom an event of the change stream is about, and what happened, read from its bytes."""

from typing import Any

import bson
import pytest
from bson import Binary, Int64, ObjectId

from procs import changestream
from procs.rawbson import value

OBJECT_ID = ObjectId("0123456789abcdef01234567")
USUAL_TAIL = next(iter(changestream.USUAL)).decode("latin-1")
IDS = (
    OBJECT_ID,
    ObjectId(bytes(12)),
    "a",
    "",
    1,
    Int64(1),
    1.0,
    {"_id": OBJECT_ID},
    Binary(b"documentKey\0"),
    USUAL_TAIL + "123456789012",  # a text that looks like the end of a usual event
)


def event(operation: str, key: dict[str, Any]) -> bytes:
    return bson.encode({"_id": {"_data": "8265"}, "operationType": operation, "documentKey": key})


@pytest.mark.parametrize("operation", ["insert", "update", "replace", "delete"])
@pytest.mark.parametrize("id_", IDS, ids=repr)
def test_r1_an_event_names_what_happened_and_the_very_bytes_of_the_id(operation: str, id_: Any) -> None:
    told = changestream._happened(event(operation, {"_id": id_}))

    assert told == (operation.encode(), value(id_))


def test_r1_an_event_of_a_sharded_source_names_its_id_beside_the_shard_key() -> None:
    told = changestream._happened(event("update", {"country": "FR", "_id": OBJECT_ID}))

    assert told == (b"update", value(OBJECT_ID))


def test_an_event_without_a_customer_names_none() -> None:
    told = changestream._happened(bson.encode({"_id": {"_data": "8265"}, "operationType": "invalidate"}))

    assert told == (b"invalidate", b"")


def test_a_token_with_bits_of_types_does_not_hide_the_id() -> None:
    token = {"_data": "8265", "_typeBits": Binary(USUAL_TAIL.encode("latin-1"))}
    told = changestream._happened(
        bson.encode({"_id": token, "operationType": "replace", "documentKey": {"_id": OBJECT_ID}})
    )

    assert told == (b"replace", value(OBJECT_ID))


def test_an_event_is_recognised_whatever_stands_before_it() -> None:
    raw = bson.encode({"operationType": "delete", "documentKey": {"_id": OBJECT_ID}, "_id": {"_data": "82"}})

    assert changestream._happened(raw) == (b"delete", value(OBJECT_ID))
