"""Customers of a known shape are rewritten at a stroke, into the same bytes as by the walk."""

import copy
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from procs import anonymise, rawbson
from procs.anonymise import Anonymiser
from procs.config import Policy
from procs.rawbson import MalformedDocument

FIELDS = ("firstName", "email", "address.line1", "address.home.email", "address.postcode")
POLICIES = [
    Policy(FIELDS),
    Policy(FIELDS, key=b"key", length=64),
    Policy(FIELDS, unknown="hash"),
    Policy(FIELDS, unknown="drop"),
]
CUSTOMER = {
    "_id": ObjectId(),
    "firstName": "John",
    "email": "john@example.com",
    "score": 1.5,
    "address": {
        "line1": "1 High St",
        "home": {"email": "x@y@z", "n": Int64(1)},
        "postcode": None,
        "city": "Paris",
    },
    "note": "",
    "more": {"a": {"b": "c"}},
}

texts = st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "@", "a@b", "\0", "a\0b", "a@\0\0", "\0\5\0\0\0"]
)
values = (
    texts
    | st.none()
    | st.integers(-5, 5)
    | st.booleans()
    | st.binary(max_size=3)
    | st.lists(texts, max_size=2)
)


def walked(policy: Policy, docs: Iterable[bytes]) -> bytes:
    """Return what the walk makes of `docs`, one by one."""
    return b"".join(map(Anonymiser(policy), docs))


def many(customer: dict[str, Any], count: int = 5) -> list[bytes]:
    """Return so many customers that it pays to learn their shape."""
    return [bson.encode(customer | {"firstName": f"John {number}"}) for number in range(count)]


@st.composite
def customers(draw: st.DrawFn) -> dict[str, Any]:
    """Customers of CUSTOMER's fields, mostly of its types."""
    customer = copy.deepcopy(CUSTOMER)
    customer["address"]["city"] = draw(texts)
    customer["address"]["home"]["email"] = draw(texts)
    customer["address"]["line1"] = draw(texts)
    customer["more"]["a"]["b"] = draw(texts)
    for name in ("firstName", "email", "note"):
        customer[name] = draw(texts)
    for name in draw(st.lists(st.sampled_from([*CUSTOMER]), max_size=1)):
        customer[name] = draw(values)
    return customer


@pytest.mark.parametrize("policy", POLICIES)
@settings(deadline=None)
@given(rows=st.lists(st.lists(customers(), max_size=12), max_size=3))
def test_it_makes_the_same_bytes_as_the_walk(policy: Policy, rows: list[list[dict[str, Any]]]) -> None:
    anonymiser = Anonymiser(policy)
    for row in ([CUSTOMER] * 5, *rows):
        docs = [bson.encode(customer) for customer in row]
        assert anonymiser.all(docs) == walked(policy, docs)


@settings(deadline=None)
@given(place=st.integers(0, 4), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_broken_bytes_are_told_as_by_the_walk(place: int, at: int, byte: int) -> None:
    docs = many(CUSTOMER)
    broken = bytearray(docs[place])
    broken[at % len(broken)] = byte
    knowing = Anonymiser(POLICIES[0])
    knowing.all(docs)

    def outcome(anonymise: Callable[[list[bytes]], bytes]) -> bytes | None:
        try:
            return anonymise([*docs[:place], bytes(broken), *docs[place + 1 :]])
        except MalformedDocument:
            return None

    assert outcome(knowing.all) == outcome(lambda docs: walked(POLICIES[0], docs))


@pytest.mark.parametrize("length", [200, 2**31])
def test_what_is_broken_inside_of_something_copied_is_copied(length: int) -> None:
    docs = many(CUSTOMER)
    at = docs[2].index(b"\x03a\0") + 3
    docs[2] = docs[2][:at] + rawbson.pack_length(length) + docs[2][at + 4 :]

    twins = Anonymiser(POLICIES[0]).all(docs)

    assert twins == walked(POLICIES[0], docs)


def test_customers_of_a_known_shape_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    anonymiser = Anonymiser(POLICIES[0])
    anonymiser.all(many(CUSTOMER))

    def walk(*_: object) -> bytes:
        raise AssertionError("walked")

    monkeypatch.setattr(Anonymiser, "_walk", walk)

    (first, *_) = rawbson.split(anonymiser.all(many(CUSTOMER | {"note": "Jane"})))
    assert bson.decode(first)["firstName"] == sha256(b"John 0").hexdigest()[:8]


def test_one_of_another_shape_does_not_have_the_others_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    anonymiser = Anonymiser(POLICIES[0])
    anonymiser.all(many(CUSTOMER))
    odd = [*many(CUSTOMER | {"note": ["a list"]}, 1), *many(CUSTOMER | {"note": "a\0b"}, 1)]
    docs = [*many(CUSTOMER, 20), odd[0], *many(CUSTOMER, 20), odd[1], *many(CUSTOMER, 20)]
    wanted = walked(POLICIES[0], docs)
    calls = walks(monkeypatch)

    twins = anonymiser.all(docs)

    assert twins == wanted
    assert calls == odd


def test_a_customer_inside_of_a_value_is_not_taken_for_one() -> None:
    docs = many(CUSTOMER)
    anonymiser = Anonymiser(POLICIES[0])
    for _ in range(2):  # the shape is learnt from the first, all have it in the second
        anonymiser.all(docs)
    docs[2] = bson.encode({"_id": 1, "data": Binary(docs[2])})

    assert anonymiser.all(docs) == walked(POLICIES[0], docs)


def test_shapes_of_the_past_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymise, "PATIENCE", 20)
    anonymiser = Anonymiser(POLICIES[0])
    for kind in range(30):
        anonymiser.all(many({"firstName": "John", f"field{kind}": "x"}))
    calls = walks(monkeypatch)

    anonymiser.all(many({"firstName": "Jane", "field29": "y"}))

    assert calls == []


@pytest.mark.parametrize("value", [Binary(b"x"), ["x"], bson.Regex("x"), {"a": ["x"]}, bson.Code("x")])
def test_what_has_no_shape_is_walked(value: Any) -> None:
    docs = many(CUSTOMER | {"more": value, "n": Decimal128("1")})

    assert Anonymiser(POLICIES[0]).all(docs) == walked(POLICIES[0], docs)


@pytest.mark.parametrize("length", [8, 9, 63, 64])
def test_hashes_have_the_length_of_the_policy(length: int) -> None:
    docs = many({"_id": 1, "firstName": "John", "note": "x"})

    twins = rawbson.split(Anonymiser(Policy(("firstName",), length=length)).all(docs))

    wanted = [sha256(f"John {number}".encode()).hexdigest()[:length] for number in range(5)]
    assert [bson.decode(twin)["firstName"] for twin in twins] == wanted


def walks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows by each customer that is walked."""
    walk, calls = Anonymiser._walk, list[bytes]()
    monkeypatch.setattr(Anonymiser, "_walk", lambda self, doc: calls.append(doc) or walk(self, doc))
    return calls
