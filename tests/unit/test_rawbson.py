"""Walking over raw BSON."""

import struct
from datetime import UTC, datetime

import bson
import pytest
from bson import Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from procs import rawbson
from procs.rawbson import MalformedDocument
from tests.unit.every_bson_type import EVERY_TYPE

CUSTOMER = bson.encode({"_id": 1, "firstName": "John", "address": {"line1": "a", "city": "b"}, "tags": ["x"]})


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_every_bson_type_is_walked_over(name: str) -> None:
    pairs = [(b"before", rawbson.value(1)), (b"it", EVERY_TYPE[name]), (b"after", rawbson.value("end"))]

    doc = rawbson.document(pairs)

    assert list(rawbson.elements(doc)) == pairs


def test_elements_gives_duplicate_and_empty_names_in_order() -> None:
    pairs = [(b"b", rawbson.value(1)), (b"", rawbson.value(2)), (b"b", rawbson.value(3))]

    assert list(rawbson.elements(rawbson.document(pairs))) == pairs


def test_elements_of_an_empty_document() -> None:
    assert list(rawbson.elements(bson.encode({}))) == []


def test_field_gives_the_first_of_its_name() -> None:
    doc = rawbson.document([(b"a", rawbson.value(0)), (b"x", rawbson.value(1)), (b"x", rawbson.value(2))])

    assert rawbson.field(doc, b"x") == rawbson.value(1)


def test_field_that_is_missing_or_only_nested_is_none() -> None:
    assert rawbson.field(CUSTOMER, b"line1") is None


def test_values_of_different_types_differ() -> None:
    assert len({rawbson.value(1), rawbson.value(1.0), rawbson.value(Int64(1)), rawbson.value(True)}) == 4


@pytest.mark.parametrize(
    "obj", [None, "Jörg", 1.5, ObjectId(), {"a": {"b": 1}}, [1, "x"], datetime(2024, 1, 1, tzinfo=UTC), b"\0"]
)
def test_value_is_what_pymongo_encodes(obj: object) -> None:
    assert rawbson.document([(b"name", rawbson.value(obj))]) == bson.encode({"name": obj})


def test_array_numbers_its_values() -> None:
    values = [rawbson.value(number) for number in range(12)]

    assert rawbson.array(values) == rawbson.value(list(range(12)))


def test_empty_array() -> None:
    assert rawbson.array([]) == rawbson.value([])


@pytest.mark.parametrize("documents", [[], [CUSTOMER], [bson.encode({}), *[CUSTOMER] * 11]])
def test_the_documents_in_an_array_are_given_back(documents: list[bytes]) -> None:
    array = rawbson.array(b"\x03" + document for document in documents)

    assert rawbson.documents_in(array) == documents


@pytest.mark.parametrize(
    "elements",
    [
        b"\x030\0" + CUSTOMER[:-1],
        b"\x030\0" + CUSTOMER + b"\x031\0\x05\0",
        b"\x030\0\4\0\0\0" + CUSTOMER,
        b"\x030\0\xff\xff\xff\xff" + CUSTOMER,
        b"\x100\0" + CUSTOMER,
        b"\x030",
    ],
    ids=["cut off", "too few bytes for a length", "length below 5", "negative length", "a number", "no name"],
)
def test_an_array_that_does_not_consist_of_documents_is_refused(elements: bytes) -> None:
    with pytest.raises(MalformedDocument):
        rawbson.documents_in(b"\x04" + struct.pack("<i", len(elements) + 5) + elements + b"\0")


def test_split_gives_back_the_documents_of_a_batch() -> None:
    documents = [bson.encode({}), CUSTOMER, bson.encode({"_id": 2})]

    assert rawbson.split(b"".join(documents)) == documents


def test_split_of_an_empty_batch() -> None:
    assert rawbson.split(b"") == []


@pytest.mark.parametrize(
    "batch",
    [
        CUSTOMER[:-1],
        CUSTOMER + b"\x05",
        CUSTOMER + b"\x04\0\0\0",
        b"\0\0\0\0",
        struct.pack("<i", -1) + CUSTOMER,
    ],
    ids=["cut off", "too few bytes for a length", "length below 5", "length 0", "negative length"],
)
def test_split_refuses_what_is_not_a_row_of_documents(batch: bytes) -> None:
    with pytest.raises(MalformedDocument):
        rawbson.split(batch)


@pytest.mark.parametrize("kept", range(len(CUSTOMER)))
def test_a_document_cut_off_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(MalformedDocument):
        list(rawbson.elements(CUSTOMER[:kept]))


@pytest.mark.parametrize(
    "doc",
    [
        CUSTOMER + b"\0",
        struct.pack("<i", len(CUSTOMER) - 1) + CUSTOMER[4:],
        rawbson.document([(b"a", b"\x20value")]),
        rawbson.document([(b"a", b"\x02" + struct.pack("<i", -7))]),
        rawbson.document([(b"a", b"\x02" + struct.pack("<i", 3) + b"a\0")]),
        rawbson.document([(b"a", b"\x0b")]),
        rawbson.document([(b"a", b"\x0a\0\0")]),
    ],
    ids=[
        "bytes behind it",
        "length too small",
        "unknown type",
        "negative length",
        "string one byte beyond the end",
        "regex without its end",
        "terminator before the end",
    ],
)
def test_malformed_document_is_refused(doc: bytes) -> None:
    with pytest.raises(MalformedDocument):
        list(rawbson.elements(doc))


def test_field_that_goes_beyond_the_end_is_refused_not_cut_off() -> None:
    doc = rawbson.document([(b"_id", b"\x02" + struct.pack("<i", 100) + b"John\0")])

    with pytest.raises(MalformedDocument):
        rawbson.field(doc, b"_id")


def test_the_error_shows_nothing_of_the_document() -> None:
    with pytest.raises(MalformedDocument) as caught:
        list(rawbson.elements(CUSTOMER[:-3]))

    assert str(caught.value) == "not a well-formed BSON document"


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_either_walked_or_refused(rest: bytes) -> None:
    doc = struct.pack("<i", len(rest) + 4) + rest

    try:
        pairs = list(rawbson.elements(doc))
    except MalformedDocument:
        return

    assert rawbson.document(pairs) == doc
