import re
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from procs.customers import Customers, available_locales

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
    assert len({each["address"]["line1"] for each in customers}) > 1_000


def test_the_second_line_is_not_repeated_in_the_first() -> None:
    lines = [each["address"]["line1"] for each in Customers("en_US", 1).batch(1000)]

    assert [line for line in lines if re.search(r"\b(Apt\.|Suite) \d", line)] == []


def test_importing_the_module_does_not_import_faker() -> None:
    program = "import sys, procs.generator; sys.exit('faker' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
