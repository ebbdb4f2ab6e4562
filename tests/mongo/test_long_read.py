"""A stream that is far behind may be read for minutes: silent, and not hung."""

from threading import Event

import pytest

from procs.changestream import PATIENCE_S, Batch, ChangeStream
from procs.config import Database
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config
from tests.mongo.test_schedules import Converged


def test_a_long_read_of_the_stream_is_announced_and_called_off(
    database: Database, source: Customers, converged: Converged, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.insert_one(customer(1, "A"))
    with SyncGroup(sync_config(database)):
        eventually(converged)
    source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})
    answers = Event()
    read = ChangeStream.next_batch

    def read_from_far_back(stream: ChangeStream, await_ms: int | None = None) -> Batch:
        assert answers.wait(30)
        return read(stream, await_ms)

    monkeypatch.setattr(ChangeStream, "next_batch", read_from_far_back)
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.allowed_silence_s == PATIENCE_S)
        assert not converged()

        answers.set()

        eventually(converged)
        eventually(lambda: group.listener.beat.allowed_silence_s is None)
