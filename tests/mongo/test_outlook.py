"""What the listener finds out about the way ahead, and what it counts on its way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from procs import lifeline, outlook, state
from procs.checkpoint import Checkpoint, Checkpoints, Position
from procs.config import Database
from procs.identity import Identity
from procs.lease import Lease
from procs.messages import Outlook
from procs.outlook import NAME_BYTES, NAMES, Lookout
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import Running, SyncGroup, sync_config

Client = MongoClient[dict[str, Any]]

SIZE = 500


@pytest.fixture(autouse=True)
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener asks every 10 s."""
    monkeypatch.setattr(outlook, "ASK_EVERY_S", 0.1)


@pytest.fixture
def active(client: Client, database: Database) -> Lease:
    """The lease, held."""
    lease = Lease(client, database, "a@here", 60_000)
    assert lease.acquire()
    return lease


def look(client: Client, database: Database, holder: str, *, standing_by: bool = False) -> Outlook:
    found = Lookout(client, database, holder).look(standing_by=standing_by)
    assert found is not None
    return found


def ahead(child: Running) -> Outlook:
    """Return what the child has found out last, as soon as it has."""
    found: Outlook = eventually(lambda: child.beat.outlook)
    return found


def figure(child: Running, name: str) -> float:
    """Return a number that the child has told; -1.0 while it is unknown."""
    found = child.beat.gauges.get(name)
    return found if isinstance(found, int | float) else -1.0


def count(child: Running, name: str, label: str = "") -> int:
    """Return what the child has counted."""
    return child.beat.meters.counters.get((name, label), 0)


def test_each_sees_who_has_the_lease_and_whether_that_is_itself(
    client: Client, database: Database, active: Lease
) -> None:
    mine, others = look(client, database, "a@here"), look(client, database, "b@there")

    assert (mine.holder, mine.term, mine.held, mine.ours) == ("a@here", active.term, True, True)
    assert (others.holder, others.held, others.ours) == ("a@here", True, False)


def test_each_sees_how_far_the_stored_checkpoint_is_also_who_took_over_and_saved_none_yet(
    client: Client, database: Database, active: Lease
) -> None:
    unknown = look(client, database, "a@here").checkpoint_time
    checkpoints = Checkpoints(client, database)
    checkpoints.claim("policy", active.term)
    checkpoints.save(Checkpoint(Position({"_data": f"82{1_800_000_000:08X}"}), Identity()), active.term)

    seen = [look(client, database, name).checkpoint_time for name in ("a@here", "b@there")]

    assert unknown is None
    assert seen == [1_800_000_000] * 2


def test_a_lease_that_was_given_back_is_held_by_nobody(
    client: Client, database: Database, active: Lease
) -> None:
    active.release()

    assert not look(client, database, "b@there").held


def test_r4_all_see_who_stands_by_until_it_leaves(client: Client, database: Database, active: Lease) -> None:
    waiting = Lookout(client, database, "b@there")
    waiting.look(standing_by=True)
    seen = look(client, database, "a@here").standbys

    waiting.leave()

    assert seen == ("b@there",)
    assert look(client, database, "a@here").standbys == ()


def test_one_that_became_active_stands_by_no_more(client: Client, database: Database, active: Lease) -> None:
    look(client, database, "a@here", standing_by=True)

    assert look(client, database, "b@there").standbys == ()


def test_one_that_fell_silent_is_not_told_and_some_day_forgotten(
    client: Client, database: Database, states: Customers, active: Lease
) -> None:
    for holder, minutes in (("silent@x", 2), ("gone@x", 120)):
        seen_at = datetime.now(UTC) - timedelta(minutes=minutes)
        states.insert_one({"_id": state.key(database, "standby", holder=holder), "seenAt": seen_at})
    waiting = Lookout(client, database, "b@there")
    waiting.look(standing_by=True)

    waiting.leave()

    assert look(client, database, "a@here").standbys == ()
    assert [each["_id"]["holder"] for each in states.find({"_id.kind": "standby"})] == ["silent@x"]


def test_few_and_short_names_are_told_however_many_and_long_they_are(
    client: Client, database: Database, active: Lease
) -> None:
    for number in range(NAMES + 3):
        look(client, database, f"{number:02}{'é' * 500}", standing_by=True)

    standbys = look(client, database, "a@here").standbys

    assert len(standbys) == NAMES
    assert max(len(name.encode()) for name in standbys) <= NAME_BYTES


def test_instances_of_other_collections_are_not_told(
    client: Client, database: Database, active: Lease
) -> None:
    other = Database(database.uri, database.name, "sellers", "sellers_anonymised")
    Lease(client, other, "c@here", 60_000).acquire()
    look(client, other, "d@here", standing_by=True)

    found = look(client, database, "a@here")

    assert (found.holder, found.standbys) == ("a@here", ())


def test_the_oplog_reaches_from_its_oldest_to_its_newest_entry_by_the_servers_clock(
    client: Client, database: Database, active: Lease
) -> None:
    found = look(client, database, "a@here")

    oldest = next(client["local"]["oplog.rs"].find().sort("$natural", 1).limit(1))
    assert found.oplog_first == oldest["ts"].time
    assert found.oplog_last is not None
    assert found.oplog_first is not None
    assert found.oplog_first <= found.oplog_last <= found.server_time + 1


@pytest.mark.parametrize("damage", [{"holder": 5}, {"term": "x"}, {"holder": None, "term": None}])
def test_a_damaged_lease_is_no_error(
    client: Client, database: Database, states: Customers, active: Lease, damage: dict[str, Any]
) -> None:
    states.update_one({"_id": state.key(database, "lease")}, {"$set": damage})

    assert Lookout(client, database, "a@here").look(standing_by=True) is None


def test_the_listener_tells_position_checkpoint_and_lease(database: Database, source: Customers) -> None:
    source.insert_one(customer(1))

    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: figure(group.listener, "checkpoint_time") > 0)
        told = ahead(group.listener)

        assert abs(figure(group.listener, "position_time") - told.server_time) < 600
        assert figure(group.listener, "checkpoint_time") <= figure(group.listener, "position_time")
        assert (told.holder, told.ours, told.held) == ("test@here", True, True)


def test_r4_a_second_instance_tells_that_it_stands_by_and_the_first_sees_it(database: Database) -> None:
    with SyncGroup(sync_config(database)) as first:
        eventually(lambda: first.listener.beat.phase == "live")
        with SyncGroup(sync_config(database, instance="second")) as second:
            eventually(lambda: second.listener.beat.phase == "standby")
            eventually(lambda: ahead(first.listener).standbys == ("second@here",))
            told = ahead(second.listener)
            assert (told.holder, told.ours) == ("test@here", False)
            assert second.listener.beat.gauges["lag_s"] is None
        eventually(lambda: ahead(first.listener).standbys == ())


def test_the_lag_grows_while_a_change_is_pending_and_is_0_again_when_it_is_mirrored(
    database: Database, source: Customers, converged: Callable[[], bool]
) -> None:
    config = sync_config(database, flush_ms=5_000)
    with SyncGroup(config) as group:
        eventually(lambda: figure(group.listener, "lag_s") == 0.0)

        source.insert_one(customer(1))

        eventually(lambda: figure(group.listener, "lag_s") > 0.3)
        eventually(lambda: converged() and figure(group.listener, "lag_s") == 0.0)


def test_what_happened_while_nobody_looked_is_as_old_as_it_is_once_it_is_read(
    client: Client,
    database: Database,
    source: Customers,
    target: Customers,
    converged: Callable[[], bool],
    states: Customers,
) -> None:
    source.insert_one(customer(0))  # a source that appears later is scanned at once
    with SyncGroup(sync_config(database)):
        eventually(lambda: states.find_one({"_id.kind": "checkpoint", "token": {"$exists": True}}))
        eventually(converged)
    happened = datetime.now(UTC)
    source.update_one({"_id": 0}, {"$set": {"firstName": "B"}})
    eventually(lambda: datetime.now(UTC) - happened > timedelta(seconds=4))
    source.insert_one(customer(1))

    with client.start_session() as session, session.start_transaction():
        target.update_one({"_id": 0}, {"$set": {"held": True}}, session=session)
        with SyncGroup(sync_config(database)) as group:
            eventually(lambda: figure(group.listener, "pending") > 0)

            assert figure(group.listener, "lag_s") >= 2.0
            session.abort_transaction()
            eventually(converged)


def test_each_child_counts_what_it_does(database: Database, source: Customers) -> None:
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.phase == "live")
        source.insert_many([customer(each) for each in range(3)])
        eventually(lambda: count(group.scanner, "customers_mirrored", "result=inserted") == 3)
        source.update_one({"_id": 0}, {"$set": {"lastName": "new"}})
        source.delete_one({"_id": 1})

        eventually(lambda: count(group.listener, "stream_events", "kind=change") == 2)
        assert count(group.listener, "stream_events", "kind=insert") == 3
        eventually(lambda: count(group.writer, "customers_mirrored", "result=deleted") == 1)
        assert count(group.writer, "customers_mirrored", "result=replaced") == 1
        assert count(group.writer, "transactions") >= 1
        assert count(group.listener, "fences") == 1
        assert count(group.listener, "history_lost") == 0
        (times,) = {
            name: each for (name, _), each in group.writer.beat.meters.times.items() if "flush" in name
        }.values()
        assert sum(times.counts) >= 1


def test_a_transaction_that_another_one_wins_is_counted_as_a_conflict(
    client: Client, database: Database, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    with SyncGroup(sync_config(replace(database, timeout_ms=1_000))) as group:
        eventually(lambda: target.find_one({"_id": 1}))
        with client.start_session() as session, session.start_transaction():
            target.update_one({"_id": 1}, {"$set": {"held": True}}, session=session)

            source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})

            eventually(lambda: count(group.writer, "transaction_conflicts") > 0)


def test_a_scan_tells_how_far_it_is(
    database: Database, source: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifeline, "BEAT_EVERY_S", 0.1)
    source.insert_many([customer(each) for each in range(SIZE)])

    with SyncGroup(sync_config(database, batch_size=1)) as group:
        eventually(lambda: group.scanner.beat.gauges.get("scan") == "catch-up")
        eventually(lambda: 0 < figure(group.scanner, "scanned") < figure(group.scanner, "total") == SIZE)
        assert figure(group.scanner, "rate") > 0
        eventually(lambda: group.scanner.beat.phase == "live", 60)
        assert group.scanner.beat.gauges["scan"] is None
