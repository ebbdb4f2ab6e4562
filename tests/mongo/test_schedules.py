"""R1: named interleavings, each of which broke a simpler way to mirror.

A *held* copy has read source and mirror in its transaction and has not written yet. What follows happens in
between; then it is let go.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pymongo import MongoClient

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.fence import Registration, raise_fence
from procs.mirror import Mirror
from tests.mongo.customers import EVERYTHING, Customers, Rename, customer, ids
from tests.mongo.held import HeldCopy

Copy = Callable[[Mirror], object]
Hold = Callable[[Copy], HeldCopy]
Converged = Callable[[], bool]


@pytest.fixture
def hold(client: MongoClient[Any], database: Database, anonymise: Anonymiser, mirror: Mirror) -> Hold:
    """Begin a copy by another process, held after its first read."""
    return partial(HeldCopy, client, database, anonymise)


@pytest.fixture
def copy_one(one: Any) -> Copy:
    return lambda mirror: mirror.copy_ids(ids(one))


def copy_all(mirror: Mirror) -> object:
    return mirror.copy_range(EVERYTHING, 100)


@pytest.fixture(params=["named", "range"])
def copy(request: pytest.FixtureRequest, copy_one: Copy) -> Copy:
    return copy_one if request.param == "named" else copy_all


def test_two_writers_on_one_customer_the_one_that_read_earlier_reads_again(
    source: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    rename: Rename,
    one: Any,
) -> None:
    source.insert_one(customer(one, "A"))
    with hold(copy_one) as held:
        rename("B")
        copy_one(mirror)

        held.let_go()

    assert held.tries == 2
    assert converged()


def test_aba_a_customer_that_is_changed_and_changed_back_is_not_stale(
    source: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    rename: Rename,
    one: Any,
) -> None:
    """Without the touch the held copy commits B: to the other one nothing seemed to differ."""
    source.insert_one(customer(one, "A"))
    copy_one(mirror)
    rename("B")
    with hold(copy_one) as held:
        rename("A")
        copy_one(mirror)

        held.let_go()

    assert converged()


def test_inserted_and_deleted_before_it_was_mirrored_does_not_come_back(
    source: Customers, mirror: Mirror, hold: Hold, converged: Converged, copy: Copy, copy_one: Copy, one: Any
) -> None:
    """Without the touch of what is absent the held copy inserts a customer that nobody deletes again."""
    source.insert_one(customer(one))
    with hold(copy) as held:
        source.delete_one({"_id": one})
        copy_one(mirror)

        held.let_go()

    assert converged()


def test_deleted_and_inserted_again_alike_is_not_lost(
    source: Customers, mirror: Mirror, hold: Hold, converged: Converged, copy_one: Copy, one: Any
) -> None:
    """Touching in the writer only is not enough: here the writer is held, and the flush must touch."""
    source.insert_one(customer(one))
    copy_one(mirror)
    source.delete_one({"_id": one})
    with hold(copy_one) as held:
        source.insert_one(customer(one))
        copy_one(mirror)

        held.let_go()

    assert converged()
    assert source.count_documents({}) == 1


def test_a_reindex_does_not_put_an_older_state_over_a_live_update(
    source: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    rename: Rename,
    one: Any,
) -> None:
    source.insert_one(customer(one, "A"))
    with hold(copy_all) as held:
        rename("B")
        copy_one(mirror)

        held.let_go()

    assert converged()


def test_a_reindex_does_not_repair_back_what_changed_there_and_back(
    source: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    rename: Rename,
    one: Any,
) -> None:
    source.insert_one(customer(one, "A"))
    copy_one(mirror)
    rename("B")
    with hold(copy_all) as held:
        rename("A")
        copy_one(mirror)

        held.let_go()

    assert converged()


def test_a_reindex_does_not_remove_what_was_inserted_meanwhile(
    source: Customers,
    target: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    one: Any,
) -> None:
    """The mirror held it already, left over from earlier: an insert alike shows no difference."""
    source.insert_one(customer(2))
    source.insert_one(customer(one))
    copy_one(mirror)
    source.delete_one({"_id": one})
    with hold(copy_all) as held:
        source.insert_one(customer(one))
        copy_one(mirror)

        held.let_go()

    assert converged()
    assert target.count_documents({"_id": one}) == 1


def test_two_reindexes_side_by_side_and_a_change_between_them(
    source: Customers, mirror: Mirror, hold: Hold, converged: Converged, rename: Rename, one: Any
) -> None:
    source.insert_many([customer(each) for each in (one, *range(2, 10))])
    with hold(copy_all) as first, hold(copy_all) as second:
        rename("B")
        source.delete_one({"_id": 2})
        mirror.copy_ids(ids(one, 2))

        first.let_go()
        second.let_go()

    assert converged()


def test_a_fence_ends_what_read_before_it_and_its_owner_reads_again(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    mirror: Mirror,
    hold: Hold,
    converged: Converged,
    copy_one: Copy,
    rename: Rename,
    one: Any,
) -> None:
    """B was there and gone before the position: no event will tell, and the scan sees no difference."""
    source.insert_one(customer(one, "A"))
    copy_one(mirror)
    rename("B")
    with hold(copy_one) as held:
        rename("A")

        raise_fence(client, database)
        copy_all(mirror)
        held.let_go()

    assert held.tries == 2
    assert converged()


def test_r1_a_transaction_that_nobody_ends_any_more_does_not_hold_its_customers(
    client: MongoClient[Any],
    database: Database,
    mirror: Mirror,
    source: Customers,
    target: Customers,
    converged: Converged,
    monkeypatch: pytest.MonkeyPatch,
    rename: Rename,
    one: Any,
) -> None:
    monkeypatch.setattr("procs.transactions.STUCK_S", 0.2)
    source.insert_one(customer(one, "A"))
    mirror.copy_ids(ids(one))
    rename("B")
    with client.start_session() as abandoned:
        Registration(client, database, None).ensure(abandoned)
        abandoned.start_transaction()
        target.update_one({"_id": one}, {"$set": {"firstName": "C"}}, session=abandoned)

        mirror.copy_ids(ids(one))

    assert converged()
