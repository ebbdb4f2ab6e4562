"""R3: the history that is lost is that of a drop."""

from typing import Any

import pytest
from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config
from tests.mongo.test_schedules import Converged
from tests.mongo.test_source_and_mirror_come_and_go import getmore


def test_r3_a_source_whose_drop_is_in_the_lost_history_is_mirrored_anew_when_it_is_there_again(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    converged: Converged,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
        with getmore(client, {"times": 1}, blockConnection=True, blockTimeMS=2_000, errorCode=286) as entered:
            client.admin.command(
                {"waitForFailPoint": "failCommand", "timesEntered": entered + 1, "maxTimeMS": 10_000}
            )
            source.drop()
            eventually(lambda: "SOURCE_COLLECTION does not exist" in caplog.text)
        assert target.count_documents({}) == 5

        source.insert_one(customer(77))

        eventually(converged)
