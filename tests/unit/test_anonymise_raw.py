"""What is not sensitive is carried over bit for bit, and no bytes make the anonymiser fail otherwise."""

import struct
from datetime import datetime
from hashlib import sha256
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procs import rawbson
from procs.anonymise import Anonymiser
from procs.config import Policy, UnknownFields
from procs.rawbson import MalformedDocument
from tests.unit.every_bson_type import EVERY_TYPE

POLICY = Policy(("firstName", "email", "address.line1", "address.home.email"))
JOHN, HIDDEN_JOHN = rawbson.value("John"), rawbson.value("a8cfcd74")

anonymise = Anonymiser(POLICY)
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def surrounded(raw: bytes, name: bytes, address: bytes) -> bytes:
    return rawbson.document(
        [
            (b"_id", raw),
            (b"firstName", name),
            (b"x", raw),
            (
                b"address",
                rawbson.array([b"\x03" + rawbson.document([(b"a", raw), (b"line1", address), (b"b", raw)])]),
            ),
            (b"x", raw),
            (b"", raw),
        ]
    )


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_every_bson_type_is_carried_over_bit_for_bit_around_replaced_values(kind: str) -> None:
    raw = EVERY_TYPE[kind]

    twin = anonymise(surrounded(raw, JOHN, JOHN))

    assert twin == surrounded(raw, HIDDEN_JOHN, HIDDEN_JOHN)


def test_a_document_without_a_sensitive_field_is_carried_over_bit_for_bit() -> None:
    doc = rawbson.document([(b"%d" % index, raw) for index, raw in enumerate(EVERY_TYPE.values())])

    assert anonymise(doc) == doc


def test_an_empty_document_stays_empty() -> None:
    assert anonymise(bson.encode({})) == bson.encode({})


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 300, 70_000])
def test_lengths_are_right_whether_the_text_was_longer_or_shorter(length: int) -> None:
    twin = anonymise(bson.encode({"firstName": "a" * length, "address": {"line1": "b" * length}, "end": 1}))

    assert bson.decode(twin)["end"] == 1
    assert twin == bson.encode(bson.decode(twin))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.floats()
    | st.text(st.characters(max_codepoint=0x2FF), max_size=8)
    | st.sampled_from(["a@b", "a@b@c", "@", "John"])
    | st.binary(max_size=5)
    | st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)).map(
        lambda moment: moment.replace(microsecond=0)
    )
    | st.binary(min_size=12, max_size=12).map(ObjectId)
    | st.decimals(allow_nan=False, places=2, min_value=-1000, max_value=1000).map(Decimal128)
)
NAMES = st.sampled_from(["firstName", "email", "address", "line1", "home", "_id", "x", "é", ""])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=7)

GONE = object()


def naive(value: Any, path: tuple[str, ...], policy: Policy) -> Any:
    """The same rules over decoded values, from the whole path of each value."""
    named = [tuple(field.split(".")) for field in policy.fields]
    if path == ("_id",):
        return value
    sensitive = next((each for each in named if path[: len(each)] == each), None)
    if sensitive is not None:
        return naive_hash(value, email=sensitive[-1] == "email")
    if any(each[: len(path)] == path for each in named):
        if isinstance(value, dict):
            below = {name: naive(inner, (*path, name), policy) for name, inner in value.items()}
            return {name: inner for name, inner in below.items() if inner is not GONE}
        if isinstance(value, list):
            return [inner for inner in (naive(each, path, policy) for each in value) if inner is not GONE]
    if policy.unknown == "hash":
        return naive_hash(value, email=path[-1] == "email")
    return GONE if policy.unknown == "drop" else value


def naive_hash(value: Any, email: bool) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: naive_hash(inner, email) for name, inner in value.items()}
    if isinstance(value, list):
        return [naive_hash(inner, email) for inner in value]
    text = value if isinstance(value, str) else dumps(value, json_options=CANONICAL_JSON_OPTIONS)
    kept = ""
    if email and isinstance(value, str) and "@" in value:
        text, at, domain = value.rpartition("@")
        kept = at + domain
    return sha256(text.encode()).hexdigest()[:8] + kept


@pytest.mark.parametrize("unknown", ["copy", "drop", "hash"])
@untimed
@given(document=DOCUMENTS)
def test_it_equals_decode_hash_encode_on_ordinary_documents(
    unknown: UnknownFields, document: dict[str, Any]
) -> None:
    policy = Policy(POLICY.fields, unknown=unknown)
    doc = bson.encode(document)

    twin = Anonymiser(policy)(doc)

    assert twin == bson.encode(naive(bson.decode(doc), (), policy))


@pytest.mark.parametrize(
    "doc",
    [
        b"",
        b"\x05\0\0",
        bson.encode({"firstName": "John"}) + b"\0",
        bson.encode({"firstName": "John"})[:-1],
        rawbson.document([(b"a", b"\x20value")]),
        rawbson.document([(b"a", b"\x02" + struct.pack("<i", -7))]),
        rawbson.document([(b"firstName", b"\x02" + struct.pack("<i", 7) + b"John\0")]),
        rawbson.document([(b"address", b"\x03" + struct.pack("<i", 30) + JOHN), (b"end", JOHN)]),
    ],
    ids=[
        "nothing",
        "too short",
        "bytes behind it",
        "cut off",
        "unknown type",
        "negative length",
        "string beyond the end",
        "sub-document that does not end where it says",
    ],
)
def test_malformed_document_is_refused(doc: bytes) -> None:
    with pytest.raises(MalformedDocument) as caught:
        anonymise(doc)

    assert str(caught.value) == "not a well-formed BSON document"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_nesting_beyond_all_measure_is_refused() -> None:
    doc = bson.encode({})
    for _ in range(5_000):
        doc = rawbson.document([(b"firstName", b"\x03" + doc)])

    with pytest.raises(MalformedDocument):
        anonymise(doc)


@untimed
@given(document=DOCUMENTS, unknown=st.sampled_from(["copy", "drop", "hash"]), data=st.data())
def test_damaged_bytes_are_refused_or_give_a_document(
    document: dict[str, Any], unknown: UnknownFields, data: st.DataObject
) -> None:
    doc = bytearray(bson.encode(document))
    for _ in range(data.draw(st.integers(1, 3))):
        doc[data.draw(st.integers(0, len(doc) - 1))] = data.draw(st.integers(0, 255))

    try:
        twin = Anonymiser(Policy(POLICY.fields, unknown=unknown))(bytes(doc))
    except MalformedDocument:
        return

    assert sum(1 for _ in rawbson.elements(twin)) <= sum(1 for _ in rawbson.elements(bytes(doc)))


@untimed
@given(kind=st.integers(0, 255), content=st.binary(max_size=40))
def test_any_bytes_as_a_sensitive_value_are_refused_or_replaced(kind: int, content: bytes) -> None:
    doc = rawbson.document([(b"firstName", bytes([kind]) + content)])

    try:
        twin = anonymise(doc)
    except MalformedDocument:
        return

    assert anonymise(doc) == twin
