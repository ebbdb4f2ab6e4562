"""R4: one instance is active at a time, by the server's clock."""

import time
from collections.abc import Callable
from threading import Semaphore
from typing import Any

import pymongo
import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from procs.config import Database
from procs.lease import Lease, LeaseLost
from tests.eventually import eventually

LONG_MS, SHORT_MS = 60_000, 200
Candidate = Callable[..., Lease]


@pytest.fixture
def candidate(client: MongoClient[Any], database: Database) -> Candidate:
    """Return an instance that may want the lease: `candidate("one", lease_ms=…)`."""
    return lambda name, lease_ms=LONG_MS: Lease(client, database, name, lease_ms)


def test_r4_only_one_of_two_gets_the_lease(candidate: Candidate) -> None:
    one, other = candidate("one"), candidate("other")

    assert one.acquire()
    assert not other.acquire()
    assert one.is_held()
    one.renew()


def test_r4_a_lease_that_is_not_renewed_expires_and_its_next_term_begins(candidate: Candidate) -> None:
    dead, heir = candidate("dead", lease_ms=SHORT_MS), candidate("heir")
    dead.acquire()

    eventually(heir.acquire)

    assert heir.term == dead.term + 1
    with pytest.raises(LeaseLost):
        dead.renew()


def test_r4_a_lease_that_is_released_is_free_at_once(candidate: Candidate) -> None:
    one, other = candidate("one"), candidate("other")
    one.acquire()

    one.release()

    assert not one.is_held()
    assert other.acquire()


def test_r4_an_instance_that_was_killed_and_started_again_takes_its_own_lease_back(
    candidate: Candidate,
) -> None:
    killed = candidate("one")
    killed.acquire()

    again = candidate("one")

    assert again.acquire()
    assert again.term == killed.term + 1


def test_r4_the_lease_is_kept_during_a_call_that_takes_longer_than_it_lasts(candidate: Candidate) -> None:
    one, other = candidate("one", lease_ms=SHORT_MS), candidate("other")
    one.acquire()
    announced = Semaphore(0)

    def taken_within_ten_leases() -> bool:
        assert announced.acquire(timeout=10)
        until = time.monotonic() + 10 * SHORT_MS / 1000
        while time.monotonic() < until:
            if other.acquire():
                return True
        return False

    with pymongo.timeout(SHORT_MS / 1000):  # as where a lost primary was looked for
        taken = one.hold_during(taken_within_ten_leases, announce=announced.release)

    assert not taken
    assert not announced.acquire(blocking=False), "announced twice"
    one.close()


def test_a_short_call_is_not_announced(candidate: Candidate) -> None:
    one = candidate("one")
    one.acquire()

    def announce() -> None:
        raise AssertionError("announced")

    assert one.hold_during(one.is_held, announce)
    one.close()


def test_what_goes_wrong_in_a_long_call_is_told(candidate: Candidate) -> None:
    one = candidate("one")
    one.acquire()

    def fails() -> None:
        raise AutoReconnect("gone")

    with pytest.raises(AutoReconnect):
        one.hold_during(fails, announce=lambda: None)
    one.close()
