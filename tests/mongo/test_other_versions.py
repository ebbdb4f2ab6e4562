"""Upgrade and downgrade: what an older version makes of a state that a newer one has written."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient

from procs import state
from procs.config import Database
from procs.mirror import Mirror
from procs.walk import Walks, begin
from tests.eventually import eventually
from tests.mongo.customers import EVERYTHING, Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config

Client = MongoClient[dict[str, Any]]

OF_THE_FUTURE = {"future": {"of": "a newer version"}, "format": 7}


def test_fields_and_documents_that_are_not_known_yet_are_passed_by(
    database: Database,
    source: Customers,
    states: Customers,
    converged: Callable[[], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    source.insert_many([customer(each) for each in range(10)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    known = states.distinct("_id.kind")
    states.update_many({}, {"$set": OF_THE_FUTURE})
    novelty = {"_id": state.key(database, "novelty"), "expiresAt": "never", **OF_THE_FUTURE}
    states.insert_one(novelty)
    caplog.clear()

    source.update_one({"_id": 1}, {"$set": {"firstName": "Changed meanwhile"}})
    source.delete_one({"_id": 2})
    with SyncGroup(sync_config(database)):
        eventually(converged)

    assert {"checkpoint", "lease"} <= {*known}
    assert [each.getMessage() for each in caplog.records if each.levelname != "INFO"] == []
    assert [each for each in caplog.records if getattr(each, "event", "") == "scan_begins"] == []
    assert states.find_one({"_id.kind": "novelty"}) == novelty
    checkpoint = states.find_one({"_id.kind": "checkpoint"})
    assert checkpoint is not None
    assert checkpoint["future"] == OF_THE_FUTURE["future"]


def test_an_interrupted_scan_of_a_newer_version_goes_on_where_it_was(
    client: Client, database: Database, mirror: Mirror, source: Customers, states: Customers
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    interrupted = replace(begin(mirror.pair, "reindex", "policy", term=1), spans=(EVERYTHING, EVERYTHING))
    Walks(client, database).save(interrupted)
    states.update_one({"_id.kind": "walk"}, {"$set": OF_THE_FUTURE})

    found = Walks(client, database).load("policy", term=1)

    assert found == interrupted
