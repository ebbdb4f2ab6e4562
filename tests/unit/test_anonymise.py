"""How sensitive values are replaced (R6), rule by rule."""

import re
from datetime import datetime
from hashlib import sha256
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps

from procs import rawbson
from procs.anonymise import Anonymiser
from procs.config import Policy
from tests.unit.every_bson_type import EVERY_TYPE

FIELDS = ("firstName", "lastName", "email", "address.line1", "address.line2", "address.postcode")
JOHN = "a8cfcd74"


def hashed(text: str | bytes) -> str:
    return sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:8]


def anonymised(customer: dict[str, Any], *fields: str) -> dict[str, Any]:
    return bson.decode(Anonymiser(Policy(fields or FIELDS))(bson.encode(customer)))


def test_known_figure_of_a_name() -> None:
    assert anonymised({"firstName": "John"}) == {"firstName": JOHN}


def test_known_figure_of_an_email() -> None:
    twin = anonymised({"email": "john.doe@example.com"})

    assert twin == {"email": f"{hashed('john.doe')}@example.com"}


def test_a_whole_customer() -> None:
    address = {
        "line1": "1 Main St",
        "line2": "",
        "postcode": "12345",
        "city": "Rome",
        "state": "NY",
        "country": "US",
    }
    customer = {
        "_id": ObjectId(),
        "firstName": "John",
        "lastName": "Döe",
        "email": "j@x.org",
        "address": address,
        "createdAt": 1,
    }

    twin = anonymised(customer)

    assert twin == {
        "_id": customer["_id"],
        "firstName": JOHN,
        "lastName": hashed("Döe"),
        "email": f"{hashed('j')}@x.org",
        "address": {
            "line1": hashed("1 Main St"),
            "line2": hashed(""),
            "postcode": hashed("12345"),
            "city": "Rome",
            "state": "NY",
            "country": "US",
        },
        "createdAt": 1,
    }
    assert list(twin) == list(customer)
    assert list(twin["address"]) == list(address)


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("john@home@example.com", f"{hashed('john@home')}@example.com"),
        ("john.doe", hashed("john.doe")),
        ("@example.com", f"{hashed('')}@example.com"),
        ("john@", f"{hashed('john')}@"),
        ("", hashed("")),
        ("jörg@exämple.com", f"{hashed('jörg')}@exämple.com"),
    ],
    ids=["last @ counts", "no @", "nothing before @", "nothing behind @", "empty", "not ASCII"],
)
def test_of_an_email_only_what_stands_before_the_last_at_is_replaced(email: str, expected: str) -> None:
    assert anonymised({"email": email}) == {"email": expected}


def test_the_email_rule_holds_for_a_path_that_ends_in_email_and_no_other() -> None:
    twin = anonymised(
        {"work": {"email": "a@x"}, "email": {"work": "a@x"}, "mail": "a@x"},
        "work.email",
        "email.work",
        "mail",
    )

    assert twin == {
        "work": {"email": f"{hashed('a')}@x"},
        "email": {"work": hashed("a@x")},
        "mail": hashed("a@x"),
    }


def test_the_email_rule_holds_for_every_string_below_an_email() -> None:
    twin = anonymised({"email": ["a@x", {"work": "b@y", "since": 1}]})

    assert twin == {
        "email": [f"{hashed('a')}@x", {"work": f"{hashed('b')}@y", "since": hashed('{"$numberInt": "1"}')}]
    }


def test_a_missing_field_stays_missing() -> None:
    assert anonymised({"_id": 1, "address": {"city": "Rome"}}) == {"_id": 1, "address": {"city": "Rome"}}


def test_null_stays_null() -> None:
    customer = {"firstName": None, "email": None, "address": {"line1": None}, "lastName": [None, "John"]}

    assert anonymised(customer) == {**customer, "lastName": [None, JOHN]}


def test_undefined_stays_undefined() -> None:
    doc = rawbson.document([(b"firstName", EVERY_TYPE["undefined"])])

    assert Anonymiser(Policy(FIELDS))(doc) == doc


def test_an_empty_string_is_hashed_like_any_other() -> None:
    assert anonymised({"firstName": ""}) == {"firstName": hashed("")}


def test_every_string_below_a_sensitive_path_is_replaced_and_names_stay() -> None:
    twin = anonymised(
        {"firstName": {"now": "John", "before": ["John", {"nick": "Jo", "none": []}], "no": {}}}
    )

    assert twin == {
        "firstName": {"now": JOHN, "before": [JOHN, {"nick": hashed("Jo"), "none": []}], "no": {}}
    }


def test_a_path_descends_through_lists_on_the_way() -> None:
    twin = anonymised({"address": [{"line1": "John", "city": "Rome"}, [{"line1": "John"}], "text", 7]})

    assert twin == {"address": [{"line1": JOHN, "city": "Rome"}, [{"line1": JOHN}], "text", 7]}


def test_a_path_goes_as_deep_as_it_is_written() -> None:
    customer = {"a": {"b": {"c": [{"d": "John", "e": "clear"}]}, "c": {"d": "clear"}}, "d": "clear"}

    twin = anonymised(customer, "a.b.c.d")

    assert twin == {"a": {"b": {"c": [{"d": JOHN, "e": "clear"}]}, "c": {"d": "clear"}}, "d": "clear"}


def test_a_name_with_a_dot_is_not_a_path() -> None:
    assert anonymised({"address.line1": "clear"}) == {"address.line1": "clear"}


def test_text_where_a_path_has_a_parent_is_not_sensitive() -> None:
    assert anonymised({"address": "somewhere"}) == {"address": "somewhere"}


@pytest.mark.parametrize(
    "other",
    [
        1,
        Int64(2**40),
        1.5,
        float("nan"),
        True,
        ObjectId("0123456789abcdef01234567"),
        datetime(2024, 2, 29, 12, 30),
        b"bytes",
        Binary(bytes(16), 4),
        Regex("a.*b", "i"),
        Code("f()"),
        Code("f()", {"name": "John"}),
        Timestamp(1, 2),
        Decimal128("1.10"),
        MinKey(),
        MaxKey(),
    ],
    ids=lambda other: f"{type(other).__name__}",
)
def test_any_other_value_becomes_the_hash_of_its_canonical_extended_json(other: object) -> None:
    expected = hashed(dumps(other, json_options=CANONICAL_JSON_OPTIONS))

    assert anonymised({"firstName": other, "lastName": [other]}) == {
        "firstName": expected,
        "lastName": [expected],
    }


def test_known_canonical_extended_json() -> None:
    twin = anonymised({"firstName": 5, "lastName": datetime(1970, 1, 1, 0, 0, 1)})

    assert twin == {
        "firstName": hashed('{"$numberInt": "5"}'),
        "lastName": hashed('{"$date": {"$numberLong": "1000"}}'),
    }


def test_a_symbol_is_text_and_stays_a_symbol() -> None:
    twin = Anonymiser(Policy(FIELDS))(rawbson.document([(b"firstName", EVERY_TYPE["symbol"])]))

    assert rawbson.field(twin, b"firstName") == b"\x0e\x09\0\0\0" + JOHN.encode() + b"\0"


def test_text_that_is_not_utf8_is_hashed_as_its_bytes() -> None:
    twin = Anonymiser(Policy(FIELDS))(
        rawbson.document([(b"firstName", EVERY_TYPE["string that is not UTF-8"])])
    )

    assert bson.decode(twin) == {"firstName": hashed(b"\xff\xfea")}


def test_text_with_nul_inside_is_hashed_as_a_whole() -> None:
    assert anonymised({"firstName": "a\0\x02lastName\0b"}) == {"firstName": hashed("a\0\x02lastName\0b")}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", sorted(set(EVERY_TYPE) - {"null", "undefined"}))
def test_of_every_bson_type_nothing_but_hashes_is_left(name: str) -> None:
    raw = EVERY_TYPE[name]
    doc = rawbson.document([(b"firstName", raw), (b"lastName", rawbson.array([raw, raw]))])

    twin = bson.decode(Anonymiser(Policy(FIELDS))(doc))

    assert all(re.fullmatch("[0-9a-f]{8}", leaf) for leaf in leaves(twin))
    assert twin["lastName"] == [twin["firstName"]] * 2


def test_dates_beyond_year_9999_get_hashes_of_their_own() -> None:
    first, second = EVERY_TYPE["date in year 10000"], EVERY_TYPE["smallest date"]

    twin = bson.decode(
        Anonymiser(Policy(FIELDS))(rawbson.document([(b"firstName", first), (b"lastName", second)]))
    )

    assert twin["firstName"] == hashed('{"$date": {"$numberLong": "253402300800000"}}')
    assert twin["lastName"] == hashed('{"$date": {"$numberLong": "-9223372036854775808"}}')


def test_every_occurrence_of_a_duplicate_name_is_replaced() -> None:
    john = rawbson.value("John")
    address = rawbson.value({"line1": "John"})
    doc = rawbson.document(
        [(b"firstName", john), (b"address", address), (b"firstName", john), (b"address", address)]
    )

    twin = Anonymiser(Policy(FIELDS))(doc)

    hidden, hidden_address = rawbson.value(JOHN), rawbson.value({"line1": JOHN})
    assert list(rawbson.elements(twin)) == [
        (b"firstName", hidden),
        (b"address", hidden_address),
        (b"firstName", hidden),
        (b"address", hidden_address),
    ]


def test_names_are_taken_exactly() -> None:
    customer = {"firstname": "clear", "firstName ": "clear", "firstNam": "clear", "firstNames": "clear"}

    assert anonymised(customer) == customer


def test_an_anonymised_document_keeps_its_shape_when_anonymised_again() -> None:
    anonymise = Anonymiser(Policy(FIELDS))
    once = anonymise(
        bson.encode({"_id": 1, "firstName": "John", "email": "a@x", "address": {"line1": ["b", 1]}})
    )

    twice = anonymise(once)

    assert len(twice) == len(once)
    assert twice != once
