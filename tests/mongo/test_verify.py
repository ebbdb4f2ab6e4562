"""`verify` counts what is wrong, and only what stays wrong."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient

from procs import passage, state, verify
from procs.checkpoint import Checkpoints, Position
from procs.config import Database
from procs.verify import Verdict
from tests.eventually import eventually
from tests.mongo.customers import Customers
from tests.mongo.sync_group import SyncGroup, sync_config


@pytest.fixture
def nobody_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that does not move tells so at once."""
    monkeypatch.setattr(passage, "STANDSTILL_S", -3.0)


def judge(client: MongoClient[Any], database: Database, **changes: Any) -> Verdict:
    return verify.verify(client, sync_config(database, **changes), progress=lambda _: None)


@contextmanager
def going_on(change: Callable[[int], object]) -> Iterator[None]:
    """Call `change` with 1, 2, 3 and so on meanwhile."""
    done = threading.Event()

    def keep_changing() -> None:
        each = 0
        while not done.is_set():
            each += 1
            change(each)

    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_mirror_that_is_right_is_clean(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([{"_id": each, "firstName": "John"} for each in range(250)])
    with SyncGroup(sync_config(database)):
        eventually(lambda: target.count_documents({}) == 250)

    verdict = judge(client, database)

    assert verdict == Verdict(compared=250, missing=0, stale=0, orphaned=0, unmirrorable=0)
    assert verdict.clean


@pytest.mark.usefixtures("nobody_is_at_work")
def test_each_kind_of_fault_is_counted(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([{"_id": each, "n": each} for each in range(6)])
    target.insert_many([{"_id": each, "n": each} for each in (0, 1, 2)])
    target.update_one({"_id": 0}, {"$set": {"n": -1}})
    target.insert_many([{"_id": 77}, {"_id": 78}])
    client[database.name][state.NAME].insert_one(
        {"_id": {**state.key(database, "unmirrorable"), "id": 5}, "code": 121}
    )

    verdict = judge(client, database)

    assert verdict == Verdict(compared=6, missing=2, stale=1, orphaned=2, unmirrorable=1)
    assert not verdict.clean


@pytest.mark.usefixtures("nobody_is_at_work")
def test_a_mirror_that_is_all_wrong_is_counted_to_the_end_but_not_remembered(
    client: MongoClient[Any], database: Database, source: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SUSPECTS", 5)
    source.insert_many([{"_id": each} for each in range(50)])

    found = verify.Verification(client, sync_config(database, batch_size=5)).find(lambda _: None)

    assert (found.verdict.missing, len(found.wrong)) == (50, 5)


@pytest.mark.usefixtures("nobody_is_at_work")
def test_a_clear_value_in_the_mirror_is_stale(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_one({"_id": 1, "firstName": "John"})
    target.insert_one({"_id": 1, "firstName": "John"})

    assert judge(client, database).stale == 1


def test_a_customer_that_is_on_its_way_is_not_counted(
    client: MongoClient[Any], database: Database, source: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_S", 2.0)
    source.insert_one({"_id": 0, "n": 0})

    def change(each: int) -> None:
        source.update_one({"_id": 0}, {"$set": {"n": each}})
        source.insert_one({"_id": each})

    with SyncGroup(sync_config(database, flush_ms=200)) as group:
        eventually(lambda: group.listener.beat.phase == "live")
        with going_on(change):
            verdicts = [judge(client, database, flush_ms=200) for _ in range(3)]

    assert all(verdict.clean for verdict in verdicts), verdicts


def test_a_customer_that_is_changed_back_and_forth_is_not_counted(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    source.insert_many([{"_id": each, "n": 0} for each in range(20)])

    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.phase == "live")
        with going_on(lambda each: source.update_one({"_id": each % 20}, {"$bit": {"n": {"xor": 1}}})):
            verdicts = [judge(client, database) for _ in range(5)]

    assert all(verdict.clean for verdict in verdicts), verdicts


def test_what_waits_behind_a_stuck_customer_is_not_counted(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    converged: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it takes: the lease is renewed."""
    monkeypatch.setattr(passage, "STANDSTILL_S", -3.0)
    source.insert_many([{"_id": each, "n": 0} for each in range(50)])
    looks = itertools.count()
    seen = 0
    stored = Checkpoints.position

    def position(checkpoints: Checkpoints) -> Position | None:
        nonlocal seen
        seen = next(looks)
        return stored(checkpoints)

    with SyncGroup(sync_config(database)), ThreadPoolExecutor() as pool:
        eventually(converged)
        with client.start_session() as session, session.start_transaction():
            target.update_one({"_id": 0}, {"$set": {"held": True}}, session=session)
            source.update_many({}, {"$set": {"n": 1}})
            monkeypatch.setattr(Checkpoints, "position", position)
            verdict = pool.submit(judge, client, database)
            eventually(lambda: seen > 20, message="a verify that looks again and again")

            assert not verdict.done()
            session.abort_transaction()

        assert verdict.result().clean


def test_what_a_scan_has_not_reached_yet_is_not_counted(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    source.insert_many([{"_id": each} for each in range(4_000)])

    with SyncGroup(sync_config(database, batch_size=2)):
        verdict = judge(client, database)

    assert verdict == Verdict(compared=4_000, missing=0, stale=0, orphaned=0, unmirrorable=0)


def test_it_leaves_no_cursor_on_the_server(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    source.insert_one({"_id": 1})
    look = passage.Passage(client, sync_config(database))
    with look:
        look.changed_since()

    idle = {"$currentOp": {"idleCursors": True, "localOps": True, "allUsers": True}}
    ours = {"type": "idleCursor", "ns": f"{database.name}.{database.source}"}
    assert list(client.admin.aggregate([idle, {"$match": ours}])) == []


def test_where_the_cursor_is_gone_all_may_have_changed(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    source.insert_one({"_id": 1})
    with passage.Passage(client, sync_config(database)) as look:
        source.insert_one({"_id": 2})
        client.admin.command("killAllSessions", [])

        assert look.changed_since() is None


@pytest.mark.usefixtures("nobody_is_at_work")
def test_a_customer_that_changes_all_the_time_and_is_not_mirrored_is_stale(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_S", 1.0)
    source.insert_one({"_id": 1, "n": 0})
    target.insert_one({"_id": 1, "n": -1})

    with going_on(lambda each: source.update_one({"_id": 1}, {"$set": {"n": each}})):
        verdict = judge(client, database)

    assert verdict.stale == 1


@pytest.mark.usefixtures("nobody_is_at_work")
def test_verify_writes_nothing(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([{"_id": 1}, {"_id": 2}])
    target.insert_many([{"_id": 2, "n": 1}, {"_id": 3}])
    client[database.name][state.NAME].insert_one({"_id": {**state.key(database, "walk"), "run": "x"}})
    written = {"$or": [{each: {"$regex": f"^{database.name}\\."}} for each in ("ns", "o.applyOps.ns")]}
    before = client.local["oplog.rs"].count_documents(written)

    assert not judge(client, database).clean

    assert client.local["oplog.rs"].count_documents(written) == before
