"""R3: the server has really forgotten what happened since the stored position, or since the last reading."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongo.customers import Customers
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer, image_of

Client = MongoClient[Any]
Run = Callable[..., DaemonProcess]

CUSTOMERS = 2_000


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Client]:
    """A MongoDB whose oplog holds two megabytes, about a second of work."""
    options = ("--syncdelay", "1")
    with (
        MongodProcess(tmp_path / "mongod", *options, oplog_mb=2, cache_gb=0.25) as process,
        MongoClient[Any](process.uri, timeoutMS=30_000) as client,
    ):
        yield client


@pytest.fixture
def cli(tmp_path: Path, forgetful: Client) -> CommandLine:
    host, port = forgetful.address or ("", 0)
    return CommandLine(tmp_path, {"MONGO_URI": f"mongodb://{host}:{port}/?replicaSet=rs"})


@pytest.fixture
def source(forgetful: Client) -> Customers:
    return forgetful["clientsync"]["customers"]


@pytest.fixture
def mirror(forgetful: Client) -> Customers:
    return forgetful["clientsync"]["customers_anonymised"]


def forget_all_until_now(client: Client) -> None:
    """Write elsewhere until the oplog holds nothing of the past."""
    oplog, elsewhere = client["local"]["oplog.rs"], client["elsewhere"]["rubbish"]

    def end(direction: int) -> Timestamp:
        found: list[Any] = list(oplog.find(sort=[("$natural", direction)], limit=1))
        at: Timestamp = found[0]["ts"]
        return at

    def is_forgotten() -> bool:
        elsewhere.insert_many([{"text": "x" * 10_000} for _ in range(50)])
        return end(1) > now

    elsewhere.insert_one({})
    now = end(-1)

    eventually(is_forgotten, 30)


def change_all_kinds(source: Customers) -> None:
    """Update, delete, insert; change and change back; delete and insert again."""
    source.update_many({"_id": {"$lt": 100}}, {"$set": {"lastName": "Roe"}})
    source.delete_many({"_id": {"$gte": CUSTOMERS - 100}})
    source.insert_many([customer(-each) for each in range(1, 50)])
    source.update_many({"_id": {"$gte": 200, "$lt": 300}}, {"$set": {"firstName": "Jane"}})
    source.update_many({"_id": {"$gte": 200, "$lt": 300}}, {"$set": {"firstName": "John"}})
    source.delete_one({"_id": 500})
    source.insert_one(customer(500, "Reborn"))


def history_lost(daemon: DaemonProcess) -> list[str]:
    return [each["message"] for each in daemon.events("history_lost")]


def test_r3_history_lost_while_it_is_down_is_told_once_and_repaired_while_mirroring_goes_on(
    cli: CommandLine, forgetful: Client, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(CUSTOMERS)])
    first = run(cli, "start", "sync")
    eventually(lambda: are_twins(source, mirror), 30)
    assert first.ask("stop").code == 0
    change_all_kinds(source)
    mirror.delete_many({"_id": {"$gte": 1_000, "$lt": 1_100}})  # which no event tells
    forget_all_until_now(forgetful)

    # In chunks of ten the reindex takes seconds.
    second = run(cli.having(SYNC_BATCH_SIZE="10"), "start", "sync", instance="second")
    second.wait_for("scan_begins")
    source.update_one({"_id": CUSTOMERS - 101}, {"$set": {"firstName": "Last"}})
    wanted = image_of(customer(CUSTOMERS - 101, "John")) | {
        "firstName": image_of({"firstName": "Last"})["firstName"]
    }

    eventually(lambda: mirror.find_one({"_id": CUSTOMERS - 101}) == wanted)
    assert second.events("scan_done") == [], "the change was mirrored only by the scan"
    eventually(lambda: second.events("scan_done"), 60)
    eventually(lambda: are_twins(source, mirror))
    assert len(history_lost(second)) == 1
    assert "history" in history_lost(second)[0]
    assert second.ask("stop").code == 0
    third = run(cli, "start", "sync", instance="third")
    third.healthy()
    assert history_lost(third) == []


def test_r3_history_lost_while_the_listener_is_stalled_is_told_once_and_repaired(
    cli: CommandLine, forgetful: Client, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(CUSTOMERS)])
    daemon = run(cli, "start", "sync")
    daemon.healthy()
    eventually(lambda: are_twins(source, mirror), 30)
    listener = daemon.pids()["listener"]

    os.kill(listener, signal.SIGSTOP)
    change_all_kinds(source)
    forget_all_until_now(forgetful)
    os.kill(listener, signal.SIGCONT)

    daemon.wait_for("history_lost")
    eventually(lambda: are_twins(source, mirror), 30)
    assert len(history_lost(daemon)) == 1
    assert daemon.pids()["listener"] == listener
    assert [each["scan"] for each in daemon.events("scan_begins")] == ["catch-up", "reindex"]
