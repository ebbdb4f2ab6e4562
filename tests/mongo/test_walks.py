"""R1, R4: what is remembered of a scan, when it was taken over, done, damaged, or its mirror replaced."""

from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient

from procs import walk
from procs.config import Database
from procs.mirror import Mirror
from procs.walk import Superseded, Walker, Walks, begin
from tests.mongo.customers import EVERYTHING, Customers, customer

Client = MongoClient[dict[str, Any]]


def test_r4_a_walk_that_was_taken_over_is_neither_written_nor_forgotten_by_the_old_holder(
    client: Client, database: Database, mirror: Mirror, source: Customers
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    old, new = Walks(client, database), Walks(client, database)
    stale = begin(mirror.pair, "catch-up", "policy", term=1)
    old.save(stale)

    taken_over = new.load("policy", term=2)
    assert taken_over is not None
    new.save(taken_over)
    with pytest.raises(Superseded):
        old.save(replace(stale, spans=()))
    old.forget(stale)

    assert new.load("policy", term=2) == taken_over
    new.forget(taken_over)
    assert new.load("policy", term=2) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"spans": 5},
        {"spans": ["here", "there"]},
        {"copied": {"scanned": "some"}},
        {"copied": {"nonsense": 1}},
        {"seconds": "few"},
        {"policy": None},
        {"source": "this one"},
    ],
    ids=str,
)
def test_r1_a_walk_that_cannot_be_read_any_more_begins_anew_and_is_told(
    database: Database,
    mirror: Mirror,
    source: Customers,
    states: Customers,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    damage: dict[str, Any],
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    walks = Walks(client, database)
    walks.save(replace(begin(mirror.pair, "reindex", "policy"), spans=(EVERYTHING,)))
    states.update_one({"_id.kind": "walk"}, {"$set": damage})

    found = walks.load("policy", term=2)

    assert found is not None
    assert (found.scan, found.spans, found.term) == ("reindex", (EVERYTHING,), 2)
    assert [each.getMessage() for each in caplog.records] == [
        "the interrupted scan cannot be read from clientsync_state any more: it begins anew"
    ]
    walks.save(found)
    assert walks.load("policy", term=3) == replace(found, term=3)


def test_r4_a_walk_that_was_taken_over_and_done_is_not_brought_back_by_the_old_holder(
    client: Client, database: Database, mirror: Mirror, source: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "SAVE_EVERY_S", 0.0)
    source.insert_many([customer(each) for each in range(10)])
    walks = Walks(client, database)
    stale = begin(mirror.pair, "catch-up", "policy", term=1)
    walks.save(stale)
    taken_over = walks.load("policy", term=2)
    assert taken_over is not None
    walks.save(taken_over)
    walks.forget(taken_over)

    with pytest.raises(Superseded):
        Walker(mirror, walks, stale).step(limit=2)

    assert walks.load("policy", term=3) is None


def test_a_walk_is_not_gone_on_with_when_its_mirror_was_replaced(
    client: Client, database: Database, mirror: Mirror, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    walks = Walks(client, database)
    walks.save(begin(mirror.pair, "reindex", "policy"))
    assert walks.load("policy") is not None

    target.drop()
    mirror.prepare()

    assert walks.load("policy") is None
