"""R1: customers that the mirror refused are tried again, all of them, however many stay refused."""

from typing import Any

import pytest
from pymongo import MongoClient

from procs import unmirrorable
from procs.config import Database
from procs.mirror import Mirror
from tests.mongo.customers import Customers, ids

UNMIRRORABLE = {"_id.kind": "unmirrorable"}


def test_r1_those_that_stay_refused_do_not_keep_the_others_from_being_tried_again(
    client: MongoClient[Any],
    database: Database,
    mirror: Mirror,
    source: Customers,
    target: Customers,
    states: Customers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unmirrorable, "AT_ONCE", 2)
    every = [1, 2.5, 3, "four", b"five", None, {"six": 6}]
    client[database.name].command("collMod", database.mirror, validator={"n": 0})
    source.insert_many([{"_id": each, "n": 1} for each in every])
    mirror.copy_ids(ids(*every))
    assert states.count_documents(UNMIRRORABLE) == len(every)
    client[database.name].command("collMod", database.mirror, validator={"_id": {"$nin": [None, 1, 2.5]}})

    for _ in range(4):
        mirror.retry_unmirrorable()

    assert states.count_documents(UNMIRRORABLE) == 3
    assert target.count_documents({}) == 4
    client[database.name].command("collMod", database.mirror, validator={})
    for _ in range(4):
        mirror.retry_unmirrorable()
    assert states.count_documents(UNMIRRORABLE) == 0
    assert target.count_documents({}) == len(every)
