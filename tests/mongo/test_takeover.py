"""R1, R2, R4: what a stalled or killed instance leaves behind cannot undo what the next one does."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from procs import scanner, state
from procs.anonymise import Anonymiser
from procs.checkpoint import Checkpoint, Checkpoints, Position
from procs.config import Database, Policy
from procs.errors import PermanentError, TemporaryError
from procs.fence import raise_fence
from procs.identity import Identity
from procs.mirror import Mirror
from procs.walk import Walks, begin
from tests.eventually import eventually
from tests.mongo.customers import EVERYTHING, Customers, customer, ids
from tests.mongo.sync_group import CONTEXT, Running, SyncGroup, reindex, sync_config

Client = MongoClient[dict[str, Any]]
EMAIL_ONLY = Policy(fields=("email",))
HERE = Checkpoint(Position({"_data": "here"}), Identity())


def test_r2_a_claimed_checkpoint_is_out_of_reach_for_older_terms(client: Client, database: Database) -> None:
    old, new = Checkpoints(client, database), Checkpoints(client, database)
    old.claim("policy", term=1)
    assert old.save(HERE, term=1)

    claimed = new.claim("policy", term=2)

    assert claimed == (True, HERE)
    assert not old.save(replace(HERE, source_missing=True), term=1)
    assert old.claim("policy", term=1) == (False, None)
    assert new.claim("policy", term=3) == (True, HERE)


def test_a_new_policy_is_due_for_a_reindex_from_its_claim_until_a_checkpoint_is_saved(
    client: Client, database: Database
) -> None:
    checkpoints = Checkpoints(client, database)
    checkpoints.claim("old", term=1)
    checkpoints.save(HERE, term=1)

    checkpoints.claim("new", term=2)
    killed_and_started_again = checkpoints.claim("new", term=3)
    checkpoints.save(HERE, term=3)
    after = checkpoints.claim("new", term=4)

    assert killed_and_started_again == (True, replace(HERE, reindex_due=True))
    assert after == (True, HERE)


def test_r1_a_transaction_from_before_a_fence_is_run_again_after_it(
    client: Client, database: Database, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    runs = []

    class Slow(Anonymiser):
        def all(self, docs: Sequence[bytes]) -> bytes:
            runs.append(docs)
            if len(runs) == 1:
                raise_fence(client, database)
            return super().all(docs)

    mirror = Mirror(client, database, Slow(EMAIL_ONLY), keep=True)
    mirror.prepare()

    mirror.copy_ids(ids(1))

    assert len(runs) == 2
    assert target.count_documents({}) == 1
    mirror.close()


def test_r1_a_session_that_is_not_registered_any_more_writes_nothing_before_it_is_again(
    mirror: Mirror, source: Customers, target: Customers, states: Customers
) -> None:
    source.insert_one(customer(1))
    mirror.copy_ids(ids(1))
    states.drop()
    source.insert_one(customer(2))

    mirror.copy_ids(ids(2))

    assert states.count_documents({"_id.kind": "session"}) == 1
    assert target.count_documents({}) == 2


@pytest.mark.parametrize("by_range", [True, False])
def test_an_instance_that_wakes_up_under_another_policy_writes_nothing(
    client: Client, database: Database, source: Customers, target: Customers, by_range: bool
) -> None:
    stalled = Mirror(client, database, Anonymiser(EMAIL_ONLY), keep=True, policy="old")
    stalled.prepare()
    checkpoints = Checkpoints(client, database)
    checkpoints.claim("old", term=1)
    stalled.copy_ids(ids(0))
    source.insert_one(customer(1))

    checkpoints.claim("new", term=2)
    raise_fence(client, database)
    with pytest.raises(TemporaryError):
        if by_range:
            stalled.copy_range(EVERYTHING, 10)
        else:
            stalled.copy_ids(ids(1))

    assert target.count_documents({}) == 0
    stalled.close()


def test_r4_a_standby_does_not_touch_the_mirror(
    client: Client, database: Database, source: Customers, target: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner, "RETRY_UNMIRRORABLE_S", 0.0)
    source.insert_one(customer(5))
    unmirrorable = {"_id": {**state.key(database, "unmirrorable"), "id": 5}, "code": 121}
    client[database.name][state.NAME].insert_one(unmirrorable)
    ours, theirs = CONTEXT.Pipe()
    standby = Running(scanner.run, sync_config(database), inserted=theirs)

    eventually(lambda: standby.beat.work > 5)

    assert target.count_documents({}) == 0
    standby.stop()
    ours.close()
    theirs.close()


def test_r4_an_instance_goes_on_with_the_walk_of_the_one_before(
    client: Client, database: Database, mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_many([customer(ObjectId()) for _ in range(50)])
    with SyncGroup(sync_config(database)):
        eventually(lambda: target.count_documents({}) == 50)
    target.delete_many({})
    policy = Checkpoints(client, database).policy()
    assert policy is not None
    Walks(client, database).save(begin(mirror.pair, "reindex", policy, term=1))

    with SyncGroup(sync_config(database, instance="next")):
        eventually(lambda: target.count_documents({}) == 50)


def test_a_reindex_under_another_policy_is_refused_while_an_instance_is_at_work(
    database: Database, source: Customers, converged: Callable[[], bool]
) -> None:
    source.insert_one(customer(1))
    with SyncGroup(sync_config(database)):
        eventually(converged)

        error = reindex(sync_config(database, instance="full", policy=EMAIL_ONLY))

        assert isinstance(error, PermanentError)
        assert converged()


def test_the_policy_of_a_reindex_does_not_outlast_the_next_start_with_another(
    database: Database, source: Customers, target: Customers, converged: Callable[[], bool]
) -> None:
    source.insert_one(customer(1))
    with SyncGroup(sync_config(database)):
        eventually(converged)

    assert reindex(sync_config(database, instance="full", policy=EMAIL_ONLY)) is None
    assert target.count_documents({"firstName": "John"}) == 1

    with SyncGroup(sync_config(database)):
        eventually(converged)
