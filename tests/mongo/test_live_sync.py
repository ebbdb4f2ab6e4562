"""Listener, scanner and writer together: what happens in the source shows up in the mirror."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from procs import listener
from procs.config import Database, Policy
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.messages import Inserted, Scan
from procs.mirror import Mirror
from procs.scanner import Scanner
from procs.walk import Walks
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.sync_group import CONTEXT, SyncGroup, sync_config

Converged = Callable[[], bool]


def test_a_first_start_mirrors_what_is_there_and_removes_what_is_not(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(350)])
    target.insert_many([{"_id": 7, "firstName": "stale"}, {"_id": 1_000}])

    with SyncGroup(sync_config(database)):
        eventually(converged)


def test_inserts_updates_replaces_and_deletes_reach_the_mirror(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.phase == "live")

        source.insert_one(customer("new"))
        source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})
        source.replace_one({"_id": 2}, {"n": 2})
        source.delete_one({"_id": 3})

        eventually(lambda: target.count_documents({}) == 10 and converged())


def test_an_insert_waits_for_the_flush_and_an_update_does_not(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_one(customer(1))
    with SyncGroup(sync_config(database, flush_ms=3_600_000)):
        eventually(converged)

        source.insert_one(customer(2))
        source.update_one({"_id": 1}, {"$set": {"n": 2}})

        eventually(lambda: target.count_documents({"_id": 1, "n": 2}) == 1)
        assert target.count_documents({"_id": 2}) == 0

    assert converged(), "a stop mirrors what is pending"


def test_a_stop_mirrors_what_happened_just_before_it(
    database: Database, source: Customers, converged: Converged
) -> None:
    with SyncGroup(sync_config(database, flush_ms=3_600_000)) as group:
        eventually(lambda: group.listener.beat.phase == "live")
        source.insert_many([customer(each) for each in range(1_500)])

    assert converged()


def test_a_stop_does_not_wait_long_for_a_scanner_that_is_stuck(
    client: MongoClient[Any], database: Database, source: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "DRAIN_S", 0.5)
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.scanner.beat.phase == "live")
        stuck = {"failCommands": ["commitTransaction"], "appName": "clientsync scanner", "errorCode": 112}
        client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": stuck})
        try:
            source.insert_many([customer(each) for each in range(20_000)])
            eventually(lambda: group.listener.beat.gauges.get("pending", 0) > 5_000)
            group.listener.ask_to_stop()

            eventually(lambda: not group.listener.alive, 8)
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def test_enough_pending_inserts_are_flushed_at_once(
    database: Database, source: Customers, converged: Converged
) -> None:
    with SyncGroup(sync_config(database, flush_ms=3_600_000, flush_inserts=50)) as group:
        eventually(lambda: group.listener.beat.phase == "live")

        source.insert_many([customer(each) for each in range(50)])

        eventually(converged)


def test_more_inserts_than_the_pipe_holds_are_flushed_though_neither_limit_is_reached(
    database: Database, source: Customers, converged: Converged
) -> None:
    config = sync_config(database, flush_ms=3_600_000, flush_inserts=10**9, batch_size=1000)
    with SyncGroup(config) as group:
        eventually(lambda: group.listener.beat.phase == "live")

        source.insert_many([customer(each) for each in range(20_000)])

        eventually(lambda: group.scanner.mirrored)
    with SyncGroup(sync_config(database)):  # what a stop did not get to
        eventually(converged)


def test_r3_a_walk_goes_on_though_a_flush_is_due_in_every_round(
    client: MongoClient[Any], database: Database, source: Customers, mirror: Mirror
) -> None:
    source.insert_many([customer(each) for each in range(300)])
    config = sync_config(database, batch_size=100, flush_inserts=1)
    (_supervisor, control), (sender, inserted) = CONTEXT.Pipe(), CONTEXT.Pipe()
    life = Lifeline(control, config)
    scanner = Scanner(life, mirror, Walks(client, database), Inbox(inserted), "policy")
    sender.send(Scan(1, "reindex", term=1))

    for seq in range(2, 7):
        sender.send(Inserted(seq, tuple(ids(0))))
        scanner.round()

    assert life.phase == "live"


def test_an_insert_below_the_last_mirrored_id_is_not_missed(
    database: Database, source: Customers, converged: Converged
) -> None:
    old = ObjectId()
    source.insert_one(customer(ObjectId()))
    with SyncGroup(sync_config(database)):
        eventually(converged)

        source.insert_one(customer(old))

        eventually(converged)


def test_r2_changes_made_while_stopped_are_applied_at_the_next_start(
    database: Database, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})
    source.delete_one({"_id": 2})
    source.insert_one(customer(9))

    with SyncGroup(sync_config(database)) as group:
        eventually(converged)
        assert group.scanner.beat.phase == "live"


def test_r2_the_checkpoint_moves_while_the_source_is_idle(
    client: MongoClient[Any], database: Database, states: Customers
) -> None:
    def token() -> Any:
        found = states.find_one({"_id.kind": "checkpoint"})
        return found and found.get("token", {}).get("_data")

    with SyncGroup(sync_config(database)):
        first = eventually(token)
        client[database.name]["elsewhere"].insert_one({})

        eventually(lambda: token() > first)


def test_r2_r4_who_lost_the_lease_writes_no_checkpoint_and_stands_by_until_it_is_free(
    database: Database, source: Customers, states: Customers, converged: Converged
) -> None:
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: states.find_one({"_id.kind": "checkpoint", "token": {"$exists": True}}))
        states.update_one({"_id.kind": "checkpoint"}, {"$inc": {"term": 1}, "$set": {"token._data": "newer"}})
        taken = {"holder": "another", "expiresAt": datetime(2999, 1, 1, tzinfo=UTC)}
        states.update_one({"_id.kind": "lease"}, {"$inc": {"term": 1}, "$set": taken})

        eventually(lambda: group.listener.beat.phase == "standby")

        assert (states.find_one({"_id.kind": "checkpoint"}) or {})["token"]["_data"] == "newer"
        assert all(child.alive for child in (group.listener, group.scanner, group.writer))
        states.update_one({"_id.kind": "lease"}, [{"$set": {"expiresAt": "$$NOW"}}])
        source.insert_one(customer(1))
        eventually(converged)


@pytest.mark.parametrize("damaged", ["not hexadecimal", "8200", "82" + "00" * 40, "FFFF"])
def test_r3_a_damaged_position_leads_to_a_reindex_and_not_to_a_loop(
    database: Database, source: Customers, states: Customers, converged: Converged, damaged: str
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    states.update_one({"_id.kind": "checkpoint"}, {"$set": {"token": {"_data": damaged}}})
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})

    with SyncGroup(sync_config(database)):
        eventually(converged)
        source.insert_one(customer(9))
        eventually(converged)


def test_r3_a_dropped_source_keeps_its_mirror_until_it_is_there_again(
    database: Database, source: Customers, target: Customers, states: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        source.drop()
        eventually(lambda: states.count_documents({"_id.kind": "checkpoint", "sourceMissing": True}))
        assert target.count_documents({}) == 5
    source.insert_one(customer(77))

    with SyncGroup(sync_config(database)):
        eventually(converged)
    assert target.count_documents({}) == 1


def test_r3_a_dropped_source_empties_the_mirror_if_told_so(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database, on_drop="empty")):
        eventually(lambda: target.count_documents({}) == 5)
        source.drop()
        eventually(lambda: target.count_documents({}) == 0)


def test_a_source_emptied_by_deletes_is_mirrored(
    database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([customer(each) for each in range(500)])
    with SyncGroup(sync_config(database)):
        eventually(lambda: target.count_documents({}) == 500)
        source.delete_many({})
        eventually(lambda: target.count_documents({}) == 0)


def test_r4_a_second_instance_stands_by_and_takes_over(
    database: Database, source: Customers, converged: Converged
) -> None:
    with SyncGroup(sync_config(database, instance="a")) as first:
        eventually(lambda: first.listener.beat.phase == "live")
        with SyncGroup(sync_config(database, instance="b")) as second:
            eventually(lambda: second.listener.beat.phase == "standby")
            first.listener.stop()

            eventually(lambda: second.listener.beat.phase == "live")
            source.insert_one(customer(1))
            eventually(converged)


def test_a_changed_policy_leads_to_a_reindex(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database, policy=Policy(fields=("email",)))):
        eventually(lambda: target.count_documents({"firstName": "John"}) == 5)

    with SyncGroup(sync_config(database)):
        eventually(converged)
