"""`verify` counts what is wrong, and only what stays wrong."""

import threading
from typing import Any

import pytest
from pymongo import MongoClient

from procs import state, verify
from procs.config import Database
from procs.verify import Verdict
from tests.eventually import eventually
from tests.mongo.customers import Customers
from tests.mongo.sync_group import SyncGroup, sync_config


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "SETTLED_S", 0.5)
    monkeypatch.setattr(verify, "LOOK_AGAIN_S", 0.05)


def judge(client: MongoClient[Any], database: Database, **changes: Any) -> Verdict:
    return verify.verify(client, sync_config(database, **changes), progress=lambda _: None)


def test_a_mirror_that_is_right_is_clean(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_many([{"_id": each, "firstName": "John"} for each in range(250)])
    with SyncGroup(sync_config(database)):
        eventually(lambda: target.count_documents({}) == 250)

    verdict = judge(client, database)

    assert verdict == Verdict(compared=250, missing=0, stale=0, orphaned=0, unmirrorable=0)
    assert verdict.clean


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


def test_a_clear_value_in_the_mirror_is_stale(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_one({"_id": 1, "firstName": "John"})
    target.insert_one({"_id": 1, "firstName": "John"})

    assert judge(client, database).stale == 1


def test_a_customer_that_is_on_its_way_is_not_counted(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    source.insert_one({"_id": 0, "n": 0})
    done = threading.Event()

    def keep_changing() -> None:
        each = 0
        while not done.is_set():
            each += 1
            source.update_one({"_id": 0}, {"$set": {"n": each}})
            source.insert_one({"_id": each})

    with SyncGroup(sync_config(database, flush_ms=200)) as group:
        eventually(lambda: group.listener.beat.phase == "live")
        changing = threading.Thread(target=keep_changing)
        changing.start()
        try:
            verdicts = [judge(client, database, flush_ms=200) for _ in range(3)]
        finally:
            done.set()
            changing.join()

    assert all(verdict.clean for verdict in verdicts), verdicts


def test_verify_writes_nothing(client: MongoClient[Any], database: Database, source: Customers) -> None:
    source.insert_one({"_id": 1})

    judge(client, database)

    assert client[database.name].list_collection_names() == [database.source]
