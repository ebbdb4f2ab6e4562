"""R1 and R3 when a whole collection appears, goes, or is replaced, and when the stream leads no further."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config

Client = MongoClient[dict[str, Any]]
Converged = Callable[[], bool]


@contextmanager
def getmore(client: Client, mode: Any, **what: Any) -> Iterator[int]:
    """Have the listener's reads of the stream fail or wait; yield how often that had happened before."""
    data = {"failCommands": ["getMore"], "appName": "clientsync listener", **what}
    command = {"configureFailPoint": "failCommand", "mode": mode, "data": data}
    try:
        yield client.admin.command(command)["count"]
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@contextmanager
def last_read_before_a_stop(client: Client, group: SyncGroup) -> Iterator[None]:
    """Hold the listener in a read of the stream; whatever happens in the body is seen when it stops."""
    with getmore(client, "alwaysOn", blockConnection=True, blockTimeMS=2_000) as entered:
        client.admin.command(
            {"waitForFailPoint": "failCommand", "timesEntered": entered + 1, "maxTimeMS": 10_000}
        )
        yield
        group.listener.ask_to_stop()


def test_r1_leftovers_go_though_the_source_is_made_only_after_the_start(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    target.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.scanner.beat.phase == "live")
        assert target.count_documents({}) == 5

        source.insert_one(customer(77))

        eventually(converged)


def test_a_mirror_that_is_dropped_comes_back(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        target.drop()
        eventually(converged)
        source.insert_one(customer(20))
        eventually(converged)


def test_a_mirror_that_is_dropped_while_stopped_comes_back(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    target.drop()
    target.insert_one({"_id": "not ours"})

    with SyncGroup(sync_config(database)):
        eventually(converged)


def test_r3_a_source_that_was_dropped_and_made_again_while_stopped_is_mirrored_anew(
    database: Database, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    source.drop()
    source.insert_many([customer(each, "Jane") for each in range(10, 15)])

    with SyncGroup(sync_config(database)):
        eventually(converged)


def test_r3_a_database_that_is_dropped_is_followed_when_it_is_there_again(
    client: Client, database: Database, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        client.drop_database(database.name)
        source.insert_many([customer(each, "Jane") for each in range(10, 15)])
        eventually(converged)


@pytest.mark.parametrize("drop_target", [True, False])
def test_r3_a_collection_that_is_renamed_to_the_source_takes_its_place(
    client: Client, database: Database, source: Customers, converged: Converged, drop_target: bool
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    fresh = client[database.name]["fresh"]
    fresh.insert_many([customer(each, "Jane") for each in range(10, 15)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        if not drop_target:
            source.rename("away")
        fresh.rename(database.source, dropTarget=drop_target)
        eventually(converged)


def test_r3_a_restart_after_a_drop_does_not_lose_the_history(
    database: Database, source: Customers, states: Customers, caplog: pytest.LogCaptureFixture
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    for _ in range(2):
        with SyncGroup(sync_config(database)):
            eventually(lambda: states.count_documents({"_id.kind": "checkpoint", "sourceMissing": False}))
            source.drop()
            eventually(lambda: states.count_documents({"_id.kind": "checkpoint", "sourceMissing": True}))
        source.insert_one(customer(1))

    assert "history" not in caplog.text


def test_r3_history_that_is_lost_during_a_stop_is_repaired(
    client: Client, database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)) as group:
        eventually(converged)
        with last_read_before_a_stop(client, group):
            target.insert_one({"_id": "what the lost events would have removed"})
            target.delete_one({"_id": 1})
        with getmore(client, {"times": 1}, errorCode=286):
            group.listener.stop()

    with SyncGroup(sync_config(database)):
        eventually(converged)


def test_r3_a_source_that_is_dropped_during_a_stop_empties_the_mirror_if_told_so(
    client: Client, database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database, on_drop="empty")) as group:
        eventually(lambda: target.count_documents({}) == 5)
        with last_read_before_a_stop(client, group):
            source.drop()

    with SyncGroup(sync_config(database, on_drop="empty")):
        eventually(lambda: target.count_documents({}) == 0)


def test_r2_a_position_that_takes_longer_than_the_time_out_to_read_from_is_not_given_up(
    client: Client, database: Database, source: Customers, converged: Converged
) -> None:
    config = sync_config(replace(database, timeout_ms=2_000))
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(config):
        eventually(converged)
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})

    # The server answers only at the end of the oplog, however much of it is about other collections.
    with getmore(client, "alwaysOn", blockConnection=True, blockTimeMS=4_000), SyncGroup(config) as group:
        eventually(converged)
        group.listener.ask_to_stop()


def test_r4_an_instance_that_reads_from_far_back_keeps_its_lease(
    client: Client, database: Database, source: Customers, states: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})

    slow = getmore(client, {"times": 1}, blockConnection=True, blockTimeMS=5_000)
    with slow, SyncGroup(sync_config(database, lease_ms=2_000, instance="a")) as reader:
        eventually(lambda: reader.listener.beat.phase == "live")
        with SyncGroup(sync_config(database, lease_ms=2_000, instance="b")):
            eventually(converged)
            lease = states.find_one({"_id.kind": "lease"})

    assert lease is not None
    assert (lease["holder"], lease["term"]) == ("a@here", 2)


def test_r3_ids_too_large_for_the_stream_are_mirrored_by_a_reindex(
    database: Database, source: Customers, converged: Converged
) -> None:
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.phase == "live")

        # Each event holds its `_id` three times, twice of it in hexadecimal.
        source.insert_many([customer(f"{each}" * 1_500_000) for each in range(5)])
        eventually(converged)

        source.insert_one(customer("small"))
        eventually(converged)
