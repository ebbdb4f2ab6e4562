"""R1, bit for bit: every BSON type, every order of fields, as a new customer and as a changed one."""

from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument

from procs import rawbson
from procs.anonymise import Anonymiser
from procs.mirror import Mirror
from procs.mongo import RAW
from tests.mongo.customers import Customers, bytes_by_id, ids, images
from tests.unit.every_bson_type import EVERY_TYPE


def put(source: Customers, one: Any, fields: list[tuple[bytes, bytes]]) -> bytes:
    """Have exactly these bytes as customer `one`; return them."""
    raw = rawbson.document([(b"_id", rawbson.value(one)), *fields])
    source.delete_one({"_id": one})
    source.with_options(RAW).insert_one(RawBSONDocument(raw))
    return raw


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_a_value_of_each_type_is_carried_over_bit_for_bit(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser, one: Any, name: str
) -> None:
    odd = EVERY_TYPE[name]
    nested = rawbson.array([odd, b"\x03" + rawbson.document([(b"deep", odd)])])
    first = put(source, one, [(b"odd", odd), (b"firstName", rawbson.value("John")), (b"list", nested)])
    mirror.copy_ids(ids(one))
    inserted = bytes_by_id(target)
    put(source, one, [(b"list", nested), (b"odd", odd), (b"n", rawbson.value(2))])
    mirror.copy_ids(ids(one))

    assert list(inserted.values()) == [anonymise(first)]
    assert odd[1:] in anonymise(first)
    assert bytes_by_id(target) == images(source, anonymise)


def test_order_and_repetition_of_fields_are_carried_over(
    mirror: Mirror, source: Customers, target: Customers, anonymise: Anonymiser, one: Any
) -> None:
    def field(name: bytes, value: Any) -> tuple[bytes, bytes]:
        return name, rawbson.value(value)

    put(source, one, [field(b"z", 1), field(b"a", 2), field(b"twice", 1), field(b"twice", 2)])
    mirror.copy_ids(ids(one))
    inserted = bytes_by_id(target)
    put(source, one, [field(b"a", 2), field(b"z", 1)])
    mirror.copy_ids(ids(one))

    (image,) = inserted.values()
    assert [name for name, _ in rawbson.elements(image)] == [b"_id", b"z", b"a", b"twice", b"twice"]
    assert bytes_by_id(target) == images(source, anonymise)
