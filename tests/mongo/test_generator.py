"""Inserting fake customers: what may be repeated, and what is left out."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import WriteConcernError

from procs.config import Database
from procs.customers import Customers as FakeCustomers
from procs.generator import insert, with_ids
from procs.mongo import connect, is_unavailable
from tests.faults.server_errors import AWAY, Case, Command, Failing, Fault
from tests.mongo.customers import Customers


@pytest.fixture
def generated(database: Database) -> Iterator[Customers]:
    """The source, as the generator is connected to it."""
    with connect(database, "generator") as client:
        yield client[database.name][database.source]


@pytest.fixture
def server(client: MongoClient[dict[str, Any]]) -> Iterator[Failing]:
    failing = Failing(client)
    yield failing
    failing.stop()


def test_customers_are_stored_as_they_were_made(generated: Customers) -> None:
    customers = with_ids(FakeCustomers("ja_JP", 1).batch(1000))

    assert insert(generated, customers) == 1000

    def in_milliseconds(each: dict[str, Any]) -> dict[str, Any]:
        made = each["createdAt"].replace(tzinfo=None)
        return {**each, "createdAt": made.replace(microsecond=made.microsecond // 1000 * 1000)}

    stored = list(generated.find(sort=[("_id", 1)]))
    assert stored == [in_milliseconds(each) for each in customers]
    assert {tuple(each) for each in stored} == {tuple(customers[0])}


def test_a_repeated_insert_adds_only_those_that_did_not_arrive(generated: Customers) -> None:
    customers = with_ids(FakeCustomers("en_US", 1).batch(100))
    insert(generated, customers[30:60])

    assert insert(generated, customers) == 100

    assert generated.distinct("_id") == [each["_id"] for each in customers]


def test_those_whose_email_is_taken_are_left_out_and_not_counted(generated: Customers) -> None:
    generated.create_index("email", unique=True)
    first, second = (with_ids(FakeCustomers("en_US", 1).batch(n)) for n in (3, 10))  # the same three
    insert(generated, first)

    assert insert(generated, second) == 7

    assert generated.distinct("_id") == [each["_id"] for each in first + second[3:]]


@pytest.mark.parametrize("code", AWAY.values(), ids=AWAY.keys())
def test_customers_that_a_majority_may_not_have_are_inserted_again(
    generated: Customers, server: Failing, code: int
) -> None:
    customers = with_ids(FakeCustomers("en_US", 1).batch(10))
    fault = Fault("after the effect", {"writeConcernError": {"code": code, "errmsg": ""}})
    server.answer(Case(Command("generator", "insert"), fault, times=1))

    with pytest.raises(WriteConcernError) as unsure:
        insert(generated, customers)

    assert is_unavailable(unsure.value)
    assert insert(generated, customers) == 10
    assert generated.count_documents({}) == 10
