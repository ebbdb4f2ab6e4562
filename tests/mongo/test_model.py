"""R1 against a plain model: any order of changes, copies, held copies, scans and fences leaves it right.

The model of the stream is one bit: the customer has changed, and no copy was told of it yet.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pymongo import MongoClient

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.fence import raise_fence
from procs.mirror import Mirror
from tests.mongo.customers import EVERYTHING, Customers, bytes_by_id, customer, ids, images
from tests.mongo.held import HeldCopy

MOST_HELD = 3


@dataclass(frozen=True)
class World:
    """What every run of the machine works on, one after the other."""

    client: MongoClient[Any]
    database: Database
    source: Customers
    target: Customers
    mirror: Mirror
    anonymise: Anonymiser
    one: Any


class Sync(RuleBasedStateMachine):
    """One customer (R1 is about each by itself) under two names."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.one = {"_id": self.world.one}
        self.world.source.delete_many({})
        self.world.target.delete_many({})
        self.signalled = False
        """The customer changed, and no copy was told of it yet."""
        self.held: list[HeldCopy] = []

    # The application
    @rule()
    def put(self) -> None:
        """Insert it as A; make A a B, and B an A."""
        before = self.world.source.find_one(self.one)
        name = "A" if before is None or before["firstName"] == "B" else "B"
        self.world.source.replace_one(self.one, customer(self.world.one, name), upsert=True)
        self.signalled = True

    @rule()
    def delete(self) -> None:
        self.signalled |= bool(self.world.source.delete_one(self.one).deleted_count)

    @precondition(lambda self: len(self.held) < MOST_HELD)
    @rule(by_delete=st.booleans())
    def there_and_back(self, by_delete: bool) -> None:
        """Become what it was again, behind a slow copy: that deceives, and is rare when left to chance."""
        before = self.world.source.find_one(self.one)
        if by_delete and before is not None:
            self.delete()
        else:
            self.put()
        self.begin_a_slow_copy()
        if before is None:
            self.delete()
        else:
            self.world.source.replace_one(self.one, before, upsert=True)
        self.copy()

    # Writer and flush
    @precondition(lambda self: self.signalled)
    @rule()
    def copy(self) -> None:
        self.world.mirror.copy_ids(ids(self.world.one))
        self.signalled = False

    @precondition(lambda self: self.signalled and len(self.held) < MOST_HELD)
    @rule()
    def begin_a_slow_copy(self) -> None:
        self.hold(lambda mirror: mirror.copy_ids(ids(self.world.one)))
        self.signalled = False

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, MOST_HELD - 1))
    def end_a_slow_copy(self, index: int) -> None:
        self.held.pop(index % len(self.held)).__exit__()

    # The scanner
    @rule()
    def scan(self) -> None:
        self.world.mirror.copy_range(EVERYTHING, 100)

    @precondition(lambda self: len(self.held) < MOST_HELD)
    @rule()
    def begin_a_slow_scan(self) -> None:
        self.hold(lambda mirror: mirror.copy_range(EVERYTHING, 100))

    @rule()
    def lose_the_history(self) -> None:
        """Start over: what the stream had to tell is gone, a fence and a scan make up for it."""
        self.signalled = False
        raise_fence(self.world.client, self.world.database)
        self.scan()

    def hold(self, action: Callable[[Mirror], object]) -> None:
        copy = HeldCopy(self.world.client, self.world.database, self.world.anonymise, action)
        copy.__enter__()
        self.held.append(copy)

    @invariant()
    def at_rest_the_mirror_is_right(self) -> None:
        if not self.signalled and not self.held:
            assert bytes_by_id(self.world.target) == images(self.world.source, self.world.anonymise)

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            for copy in self.held:
                stack.push(copy)
            self.held = []
        if self.signalled:
            self.copy()
        self.at_rest_the_mirror_is_right()


@pytest.mark.timeout(300)
def test_r1_no_order_of_steps_leaves_the_mirror_wrong(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    mirror: Mirror,
    anonymise: Anonymiser,
    one: Any,
) -> None:
    world = World(client, database, source, target, mirror, anonymise, one)
    source.insert_one(customer(one))  # a source that does not exist would empty nothing

    run_state_machine_as_test(
        type("SyncOfThisTest", (Sync,), {"world": world}),
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
