import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from procs.customers import Customers, available_locales, made_ahead, with_endings
from tests.eventually import eventually

with warnings.catch_warnings(action="ignore"):
    from faker.config import AVAILABLE_LOCALES

# Stricter than RFC 5321: a plain local part of at most 64 characters, a reserved domain.
EMAIL = re.compile(r"(?=[^@]{3,64}@)[a-z]+([._]?[a-z]+)*[0-9]{0,4}@example\.(com|net|org)")


def without_time(customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name != "createdAt"} for each in customers]


def texts(customer: dict[str, Any]) -> list[Any]:
    return [customer[name] for name in ("firstName", "lastName", "email")] + list(
        customer["address"].values()
    )


def test_a_customer_has_the_fields_of_the_contract_in_their_order() -> None:
    [customer] = Customers("en_US", 1).batch(1)

    assert list(customer) == ["firstName", "lastName", "email", "address", "createdAt"]
    assert list(customer["address"]) == ["line1", "line2", "postcode", "city", "state", "country"]
    assert customer["createdAt"].tzinfo is UTC
    assert timedelta(0) <= datetime.now(UTC) - customer["createdAt"] < timedelta(minutes=1)


@pytest.mark.parametrize("locale", sorted(AVAILABLE_LOCALES))
def test_every_locale_makes_complete_customers_with_a_plausible_email(locale: str) -> None:
    customers = Customers(locale, 1).batch(200)

    assert [each for each in customers if not EMAIL.fullmatch(each["email"])] == []
    assert {type(text) for each in customers for text in texts(each)} == {str}
    assert [
        each for each in customers for text in texts(each) if text != " ".join(text.split()) or not text
    ] == []


def test_the_available_locales_are_those_that_faker_reports() -> None:
    assert available_locales() == frozenset(AVAILABLE_LOCALES)


@pytest.mark.parametrize("locale", ["en_US", "de_DE", "fr_FR", "pt_BR"])
def test_the_email_is_made_from_the_customers_own_name(locale: str) -> None:
    for customer in Customers(locale, 1).batch(200):
        first, last = (re.sub("[^a-z]", "", customer[name].lower()) for name in ("firstName", "lastName"))
        letters = re.sub("[^a-z]", "", customer["email"].split("@")[0])
        if customer["firstName"].isascii() and customer["lastName"].isascii():
            assert letters in (first + last, last + first, first[0] + last)


def test_an_umlaut_is_spelled_as_its_locale_spells_it() -> None:
    customers = Customers("de_DE", 1).batch(2000)

    with_umlaut = [each for each in customers if "ü" in each["lastName"]]

    assert with_umlaut
    for customer in with_umlaut:
        before, after = customer["lastName"].lower().split("ü")[:2]
        spelled = f"{before[-1:]}ue{after[:1]}"
        assert re.sub("[^a-z]", "", spelled) in customer["email"]


def test_the_same_seed_makes_the_same_customers_whatever_the_sizes_of_the_batches() -> None:
    large, small = Customers("en_US", 7), Customers("en_US", 7)

    at_once = large.batch(1500)
    piecemeal = [customer for size in (1, 499, 3, 700, 297) for customer in small.batch(size)]

    assert without_time(at_once) == without_time(piecemeal)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (None, None)])
def test_another_seed_or_none_makes_other_customers(one: int | None, other: int | None) -> None:
    assert without_time(Customers("en_US", one).batch(10)) != without_time(
        Customers("en_US", other).batch(10)
    )


@pytest.mark.parametrize("locale", ["en_US", "ja_JP"])  # ja_JP: fifty first names, fifty last names
def test_no_two_of_ten_thousand_customers_are_alike(locale: str) -> None:
    customers = Customers(locale, 1).batch(10_000)

    people = {(each["firstName"], each["lastName"], each["address"]["line1"]) for each in customers}
    assert len({str(each) for each in without_time(customers)}) == 10_000
    assert len(people) > 9_900


def test_hardly_two_of_ten_thousand_customers_share_a_house_or_a_postcode() -> None:
    addresses = [each["address"] for each in Customers("en_US", 1).batch(10_000)]

    distinct = {name: len({each[name] for each in addresses}) for name in ("line1", "postcode", "city")}
    assert distinct["line1"] > 9_000
    assert distinct["postcode"] > 8_000
    assert distinct["city"] > 1_000


@pytest.mark.parametrize(
    ("locale", "form"),
    [
        ("en_US", "[0-9]{5}"),
        ("en_GB", "[A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}"),
        ("en_CA", "[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]"),
        ("ja_JP", "[0-9]{3}-[0-9]{4}"),
        ("nl_NL", "[1-9][0-9]{3} ?[A-Z]{2}"),
    ],
)
def test_a_postcode_has_the_form_of_its_country(locale: str, form: str) -> None:
    postcodes = [each["address"]["postcode"] for each in Customers(locale, 1).batch(2_000)]

    assert [each for each in postcodes if not re.fullmatch(form, each)] == []


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("135 Nicole Square", "142 Nicole Square"),
        ("Hauptstr. 7", "Hauptstr. 4"),
        ("Hauptstr. 3/18", "Hauptstr. 3/42"),
        ("4丁目12番3号", "4丁目12番4号"),
        ("M1 1AA", "M1 4AA"),
        ("60311", "60342"),
        ("Schlossallee", "Schlossallee"),
    ],
)
def test_only_the_last_two_digits_of_a_number_are_drawn_anew(text: str, made: str) -> None:
    assert with_endings([text], [42]) == [made]


def test_one_block_is_made_ahead_and_no_more() -> None:
    made: list[int] = []

    def blocks() -> Iterator[int]:
        for number in count():
            made.append(number)
            yield number

    row = made_ahead(blocks())

    for number in range(5):
        assert next(row) == number
        eventually(lambda number=number: len(made) == number + 2)
    assert made == [0, 1, 2, 3, 4, 5]


def test_what_goes_wrong_in_making_a_block_reaches_the_caller() -> None:
    def blocks() -> Iterator[int]:
        yield 0
        raise LookupError("no such part")

    row = made_ahead(blocks())

    assert next(row) == 0
    with pytest.raises(LookupError, match="no such part"):
        next(row)


def test_the_second_line_is_not_repeated_in_the_first() -> None:
    lines = [each["address"]["line1"] for each in Customers("en_US", 1).batch(1000)]

    assert [line for line in lines if re.search(r"\b(Apt\.|Suite) \d", line)] == []


def test_importing_the_module_does_not_import_faker() -> None:
    program = "import sys, procs.generator; sys.exit('faker' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
