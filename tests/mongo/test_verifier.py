"""The scheduled verify: loud about what stays wrong, and only that; it writes nothing unless told to."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from procs import changestream, listener, passage, state, verifier, verify
from procs.anonymise import Anonymiser
from procs.config import Database, VerifierConfig
from procs.lease import Lease
from procs.schedule import Schedule
from tests.eventually import eventually
from tests.mongo.customers import Customers, bytes_by_id
from tests.mongo.held import HeldMirror
from tests.mongo.sync_group import Running, SyncGroup, sync_config
from tests.mongo.test_verify import going_on

HOUR = 3_600
CUSTOMERS = 250

Converged = Callable[[], bool]


@pytest.fixture(autouse=True)
def checkpoints_follow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verify waits for them several times."""
    monkeypatch.setattr(listener, "SAVE_EVERY_S", 0.05)
    monkeypatch.setattr(listener, "SAVE_IDLE_EVERY_S", 0.05, raising=False)
    monkeypatch.setattr(changestream, "AWAIT_MS", 50)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, int]]]:
    """What the verifier has logged so far: events and levels."""
    caplog.set_level(logging.INFO)

    def logged() -> list[tuple[str, int]]:
        return [
            (each.__dict__["event"], each.levelno)
            for each in caplog.records
            if each.name == verifier.__name__
        ]

    return logged


Log = Callable[[], list[tuple[str, int]]]


def verifier_config(
    database: Database, *, every_s: int = HOUR, repair: bool = False, **changes: Any
) -> VerifierConfig:
    return VerifierConfig(**vars(sync_config(database, **changes)), every_s=every_s, repair=repair)


@contextmanager
def verifying(database: Database, **changes: Any) -> Iterator[Running]:
    child = Running(verifier.run, verifier_config(database, **changes))
    try:
        yield child
    finally:
        child.stop()


def result(child: Running) -> dict[str, Any]:
    """Wait for the figures of a run, and return them without its moment."""
    gauges = dict(eventually(lambda: child.beat.gauges.get("at") and child.beat.gauges))
    datetime.fromisoformat(gauges.pop("at"))
    assert gauges.pop("seconds") >= 0
    gauges.pop("checked", None)
    return gauges


def written(client: MongoClient[Any], database: Database, collection: str) -> int:
    """Return how many writes of a collection are in the oplog."""
    names = {"$regex": f"^{database.name}\\.{collection}$"}
    return client.local["oplog.rs"].count_documents({"$or": [{"ns": names}, {"o.applyOps.ns": names}]})


def last_at(states: Customers) -> datetime | None:
    found = states.find_one({"_id.kind": "verify"})
    return found["at"] if found else None


@pytest.fixture
def mirrored(database: Database, source: Customers, converged: Converged) -> Iterator[SyncGroup]:
    """Some customers, mirrored by a group that goes on."""
    source.insert_many([{"_id": each, "firstName": "John", "n": each} for each in range(CUSTOMERS)])
    with SyncGroup(sync_config(database)) as group:
        eventually(converged)
        eventually(lambda: group.scanner.beat.phase == "live")
        yield group


@pytest.fixture
def broken(mirrored: SyncGroup, target: Customers) -> SyncGroup:
    """The same, with one image of each fault, made behind its back."""
    target.update_one({"_id": 3}, {"$set": {"n": -1}})
    target.delete_many({"_id": {"$in": [4, 5]}})
    target.insert_many([{"_id": each} for each in (-1, 1_000, 1_001)])
    return mirrored


@pytest.mark.usefixtures("mirrored")
def test_a_mirror_that_is_right_is_told_so(database: Database, log: Log) -> None:
    with verifying(database) as child:
        figures = result(child)
        eventually(lambda: child.beat.phase == "idle")

    assert figures == {
        "compared": CUSTOMERS,
        "missing": 0,
        "stale": 0,
        "orphaned": 0,
        "unmirrorable": 0,
        "repaired": 0,
    }
    assert log() == [("verify_clean", logging.INFO)]


@pytest.mark.usefixtures("broken")
def test_what_differs_is_loud_and_nothing_of_the_mirror_is_written(
    client: MongoClient[Any], database: Database, target: Customers, log: Log
) -> None:
    before, writes = bytes_by_id(target), written(client, database, database.mirror)

    with verifying(database) as child:
        figures = result(child)

    assert figures == {
        "compared": CUSTOMERS,
        "missing": 2,
        "stale": 1,
        "orphaned": 3,
        "unmirrorable": 0,
        "repaired": 0,
    }
    assert log() == [("verify_differs", logging.ERROR)]
    assert bytes_by_id(target) == before
    assert written(client, database, database.mirror) == writes
    assert written(client, database, state.NAME)


@pytest.mark.usefixtures("broken")
def test_what_differs_is_copied_again_where_that_is_asked_for_and_is_loud_all_the_same(
    client: MongoClient[Any], database: Database, converged: Converged, log: Log
) -> None:
    writes = written(client, database, database.source)

    with verifying(database, repair=True) as child:
        figures = result(child)

    assert (figures["missing"], figures["stale"], figures["orphaned"]) == (2, 1, 3)
    assert figures["repaired"] == 6
    assert log() == [("verify_differs", logging.ERROR), ("verify_repaired", logging.WARNING)]
    assert converged()
    assert written(client, database, database.source) == writes


def test_a_repair_is_one_of_the_writers_that_are_ordered(
    client: MongoClient[Any],
    database: Database,
    mirrored: SyncGroup,
    source: Customers,
    target: Customers,
    anonymise: Anonymiser,
    converged: Converged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target.update_one({"_id": 3}, {"$set": {"n": -1}})
    held = HeldMirror(client, database, anonymise, keep=True)
    monkeypatch.setattr(verifier, "open_mirror", lambda *_: held)

    with verifying(database, repair=True) as child:
        assert held.has_read.wait(20)
        source.update_one({"_id": 3}, {"$set": {"n": 33}})
        eventually(lambda: target.find_one({"_id": 3, "n": 33}), message="mirrored by the stream")
        held.may_write.set()
        figures = result(child)

    assert figures["repaired"] == 1
    assert converged()


def test_what_the_mirror_refuses_is_counted_and_not_repaired(
    client: MongoClient[Any], database: Database, source: Customers, states: Customers, log: Log
) -> None:
    client[database.name].create_collection(database.mirror, validator={"n": {"$ne": 13}})
    source.insert_many([{"_id": each, "n": each} for each in (12, 13)])

    with SyncGroup(sync_config(database)):
        eventually(lambda: states.find_one({"_id.kind": "unmirrorable"}))
        with verifying(database, repair=True) as child:
            figures = result(child)

    assert (figures["unmirrorable"], figures["missing"], figures["repaired"]) == (1, 0, 0)
    assert log() == [("verify_unmirrorable", logging.WARNING)]


def test_what_the_stream_is_about_to_mend_is_not_told_however_long_that_takes(
    database: Database,
    mirrored: SyncGroup,
    client: MongoClient[Any],
    source: Customers,
    target: Customers,
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
) -> None:
    """Others would give a mirror that stands still and is nobody's up after a while: here it is at once."""
    monkeypatch.setattr(passage, "STANDSTILL_S", -3.0)
    monkeypatch.setattr(Lease, "is_held", lambda _: False)
    monkeypatch.setattr(verify.Verification, "settle", lambda _: None)

    with client.start_session() as session, session.start_transaction():
        target.update_one({"_id": 0}, {"$set": {"held": True}}, session=session)
        source.update_many({}, {"$set": {"n": -7}})
        with verifying(database) as child:
            eventually(lambda: child.beat.gauges.get("checked") == CUSTOMERS)
            works = child.beat.work
            eventually(lambda: child.beat.work > works + 10, message="one that waits and waits")

            assert log() == []
            session.abort_transaction()
            result(child)

    assert log() == [("verify_clean", logging.INFO)]


@pytest.mark.usefixtures("mirrored")
def test_a_reindex_that_was_interrupted_and_that_nobody_goes_on_with_is_not_waited_for(
    database: Database, states: Customers, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(passage, "STANDSTILL_S", -3.0)
    states.insert_one({"_id": {**state.key(database, "walk"), "run": "x@y"}})

    with verifying(database) as child:
        result(child)

    assert log() == [("verify_clean", logging.INFO)]


@pytest.mark.usefixtures("mirrored")
def test_a_source_under_load_shows_no_difference(
    database: Database, source: Customers, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_S", 1.0)

    def change(each: int) -> None:
        source.update_one({"_id": each % CUSTOMERS}, {"$bit": {"n": {"xor": 1}}})
        source.insert_one({"_id": CUSTOMERS + each})
        source.delete_one({"_id": CUSTOMERS + each - 5})

    with going_on(change), verifying(database, every_s=1, repair=True):
        eventually(lambda: len(log()) >= 3, 30)

    assert {event for event, _ in log()} == {"verify_clean"}


@pytest.mark.usefixtures("broken")
def test_only_the_instance_that_is_active_verifies_and_the_others_know_what_it_found(
    database: Database, log: Log
) -> None:
    with verifying(database, instance="other") as other, verifying(database) as child:
        assert result(child)["stale"] == 1
        eventually(lambda: other.beat.phase == "standby")

    with verifying(database, instance="other") as other:
        assert result(other)["stale"] == 1

    assert log() == [("verify_differs", logging.ERROR)]


@pytest.mark.usefixtures("mirrored")
def test_a_run_ends_where_another_instance_takes_over(
    database: Database, source: Customers, states: Customers, log: Log
) -> None:
    source.insert_many([{"_id": each} for each in range(CUSTOMERS, 3_000)])
    with verifying(database, batch_size=1) as child:
        eventually(lambda: (child.beat.gauges.get("checked") or 0) > 1)
        states.update_one(
            {"_id.kind": "lease"}, {"$set": {"holder": "other@there", "expiresAt": datetime(2100, 1, 1)}}
        )
        eventually(lambda: log() == [("verify_interrupted", logging.INFO)])
        states.delete_one({"_id.kind": "lease"})

    assert last_at(states) is None


@pytest.mark.parametrize(
    ("ago", "left_s"),
    [(timedelta(minutes=59), 60), (timedelta(minutes=61), -60), (timedelta(minutes=-5), 0)],
)
def test_the_next_run_is_due_after_the_interval_by_the_clock_of_the_server(
    client: MongoClient[Any], database: Database, states: Customers, ago: timedelta, left_s: int
) -> None:
    """One that lies in the future is due: the clock was set back."""
    schedule = Schedule(client, database)
    schedule.note({"stale": 3})
    states.update_one(
        {"_id.kind": "verify"}, [{"$set": {"at": {"$subtract": ["$at", round(ago.total_seconds() * 1000)]}}}]
    )

    left, figures = schedule.look(HOUR)

    assert left == pytest.approx(left_s, abs=10)
    assert figures["stale"] == 3


def test_before_the_first_run_one_is_due(client: MongoClient[Any], database: Database) -> None:
    assert Schedule(client, database).look(HOUR) == (0.0, {})


@pytest.mark.parametrize("damaged", ["at", "stale"])
def test_a_result_that_cannot_be_read_is_none(
    client: MongoClient[Any], database: Database, states: Customers, damaged: str
) -> None:
    schedule = Schedule(client, database)
    schedule.note({"stale": 3})
    states.update_one({"_id.kind": "verify"}, {"$set": {damaged: {"no": "sense"}}})

    left, figures = schedule.look(HOUR)

    assert (left > 0) == (damaged != "at")
    assert figures.get("stale") is None


def test_a_source_that_was_dropped_and_a_mirror_that_is_kept_are_no_difference(
    client: MongoClient[Any],
    database: Database,
    mirrored: SyncGroup,
    source: Customers,
    target: Customers,
    log: Log,
) -> None:
    source.drop()
    with verifying(database, repair=True) as child:
        eventually(lambda: child.beat.phase == "idle")

    assert log() == []
    assert target.count_documents({}) == CUSTOMERS


def test_what_is_found_while_a_collection_is_dropped_says_nothing(
    client: MongoClient[Any], database: Database, mirrored: SyncGroup, source: Customers, log: Log
) -> None:
    source.insert_many([{"_id": each} for each in range(CUSTOMERS, 1_000)])
    with verifying(database, batch_size=2) as child:
        eventually(lambda: (child.beat.gauges.get("checked") or 0) > 1)
        source.drop()

        eventually(lambda: log() == [("verify_interrupted", logging.INFO)])
