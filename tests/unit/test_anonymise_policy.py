"""What a policy may say, and what key, length and the rule for unknown fields do."""

import hmac
from hashlib import sha256
from typing import Any

import bson
import pytest

from procs.anonymise import Anonymiser, check_fields, check_key, check_length
from procs.config import Policy, UnknownFields

FIELDS = ("firstName", "email", "address.line1")
KEY = b"a key of some length"


def anonymised(customer: dict[str, Any], policy: Policy) -> dict[str, Any]:
    return bson.decode(Anonymiser(policy)(bson.encode(customer)))


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]


def fingerprint(
    fields: tuple[str, ...] = FIELDS,
    key: bytes | None = None,
    length: int = 8,
    unknown: UnknownFields = "copy",
) -> str:
    return Anonymiser(Policy(fields, key, length, unknown)).fingerprint


@pytest.mark.parametrize(
    "fields",
    [FIELDS, ("a",), ("a.b", "a.c", "ab"), ("a.b", "a-b", "a.b-c"), ("größe",), ("a._id",), ("first name",)],
)
def test_good_fields_pass(fields: tuple[str, ...]) -> None:
    check_fields(fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ((), "no field is named"),
        (("firstName", "_id"), "'_id': _id cannot be anonymised"),
        (("_id.part",), "'_id.part': _id cannot be anonymised"),
        (("",), "'': a part of the path is empty"),
        (("address..line1",), "'address..line1': a part of the path is empty"),
        (("address.",), "'address.': a part of the path is empty"),
        ((".address",), "'.address': a part of the path is empty"),
        (("$set",), "'$set': a name cannot begin with $"),
        (("a.$[]",), "'a.$[]': a name cannot begin with $"),
        (("a", " b"), "' b': a name has a blank at its end"),
        (("a .b",), "'a .b': a name has a blank at its end"),
        (("a\0b",), r"'a\x00b': a name has a blank at its end or an unprintable character"),
        (("a\udcff",), r"'a\udcff': a name has a blank at its end or an unprintable character"),
        (("phones.0.number",), "'phones.0.number': no list positions"),
        (("a", "b", "a"), "'a' is named twice"),
        (("address.line1", "address"), "'address' already covers 'address.line1'"),
        (("a.b.c", "a-", "a.b"), "'a.b' already covers 'a.b.c'"),
    ],
)
def test_bad_fields_are_refused_by_name(fields: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_fields(fields)

    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("length", [8, 9, 64])
def test_lengths_from_8_to_64_pass(length: int) -> None:
    check_length(length)


@pytest.mark.parametrize("length", [-1, 0, 7, 65])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"^{length} is outside 8..64 characters$"):
        check_length(length)


@pytest.mark.parametrize("key", [b"", b" \n"])
def test_an_empty_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="the key is empty"):
        check_key(key)


@pytest.mark.parametrize("policy", [Policy(("_id",)), Policy(FIELDS, length=7), Policy(FIELDS, key=b"")])
def test_an_anonymiser_of_a_bad_policy_cannot_be_made(policy: Policy) -> None:
    with pytest.raises(ValueError):
        Anonymiser(policy)


@pytest.mark.parametrize("length", [8, 9, 64])
def test_length_is_the_number_of_hexadecimal_characters(length: int) -> None:
    twin = anonymised({"firstName": "John", "email": "John@x"}, Policy(FIELDS, length=length))

    expected = sha256(b"John").hexdigest()[:length]
    assert twin == {"firstName": expected, "email": f"{expected}@x"}


def test_a_key_switches_to_hmac_sha256() -> None:
    twin = anonymised(
        {"firstName": "John", "email": "John@x", "address": {"line1": 1}}, Policy(FIELDS, KEY, length=20)
    )

    john = hmac.digest(KEY, b"John", "sha256").hex()[:20]
    one = hmac.digest(KEY, b'{"$numberInt": "1"}', "sha256").hex()[:20]
    assert twin == {"firstName": john, "email": f"{john}@x", "address": {"line1": one}}


UNKNOWN = {
    "_id": "in clear",
    "nick": "Jo",
    "age": 7,
    "none": None,
    "past": {"email": "a@x"},
    "email": "a@x",
    "address": {"line1": "Main St", "city": "Rome", "_id": "Rome", "email": "a@x"},
}


def test_unknown_fields_are_copied() -> None:
    twin = anonymised(UNKNOWN, Policy(("address.line1",)))

    assert twin == {**UNKNOWN, "address": {**UNKNOWN["address"], "line1": hashed("Main St")}}


def test_unknown_fields_are_dropped() -> None:
    twin = anonymised(UNKNOWN, Policy(("address.line1",), unknown="drop"))

    assert twin == {"_id": "in clear", "address": {"line1": hashed("Main St")}}


def test_unknown_fields_are_hashed_as_if_their_path_were_named() -> None:
    twin = anonymised(UNKNOWN, Policy(("address.line1",), unknown="hash"))

    assert twin == {
        "_id": "in clear",
        "nick": hashed("Jo"),
        "age": hashed('{"$numberInt": "7"}'),
        "none": None,
        "past": {"email": hashed("a@x")},
        "email": f"{hashed('a')}@x",
        "address": {
            "line1": hashed("Main St"),
            "city": hashed("Rome"),
            "_id": hashed("Rome"),
            "email": f"{hashed('a')}@x",
        },
    }


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ("copy", {"_id": 1, "address": "Rome"}),
        ("drop", {"_id": 1}),
        ("hash", {"_id": 1, "address": hashed("Rome")}),
    ],
)
def test_text_where_a_path_has_a_parent_is_unknown(unknown: UnknownFields, expected: dict[str, Any]) -> None:
    assert anonymised({"_id": 1, "address": "Rome"}, Policy(FIELDS, unknown=unknown)) == expected


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ("copy", ["Rome", {"line1": hashed("a")}, [], ["Rome", {"line1": hashed("b")}], {"city": "Rome"}]),
        ("drop", [{"line1": hashed("a")}, [], [{"line1": hashed("b")}], {}]),
        (
            "hash",
            [
                hashed("Rome"),
                {"line1": hashed("a")},
                [],
                [hashed("Rome"), {"line1": hashed("b")}],
                {"city": hashed("Rome")},
            ],
        ),
    ],
)
def test_unknown_elements_of_a_list_on_the_way(unknown: UnknownFields, expected: list[Any]) -> None:
    addresses = ["Rome", {"line1": "a"}, [], ["Rome", {"line1": "b"}], {"city": "Rome"}]

    doc = Anonymiser(Policy(FIELDS, unknown=unknown))(bson.encode({"address": addresses}))

    assert doc == bson.encode({"address": expected})


def test_dropping_unknown_fields_keeps_lists_below_a_sensitive_path() -> None:
    twin = anonymised({"firstName": ["a", None, ["b"]], "x": [1]}, Policy(FIELDS, unknown="drop"))

    assert twin == {"firstName": [hashed("a"), None, [hashed("b")]]}


def test_the_fingerprint_of_a_policy_is_the_same_in_every_process() -> None:
    assert fingerprint() == "975585c436d011079a7048d5a4d5c736d06fd656ad2cda85921025d6ce5a886c"
    assert fingerprint(key=KEY) == "c60e92111b6b5391a53cc58993314a651a0967d024372ec5e7127f5e28e76f82"


def test_the_fingerprint_changes_with_the_policy() -> None:
    policies = {
        fingerprint(),
        fingerprint(fields=FIELDS[1:]),
        fingerprint(fields=("firstName", "email", "address.line2")),
        fingerprint(key=KEY),
        fingerprint(key=KEY + b"."),
        fingerprint(length=9),
        fingerprint(unknown="drop"),
        fingerprint(unknown="hash"),
    }

    assert len(policies) == 8


def test_the_fingerprint_does_not_depend_on_the_order_of_the_fields() -> None:
    assert fingerprint(fields=FIELDS[::-1]) == fingerprint()
