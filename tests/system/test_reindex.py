"""`start --full`: walks the whole source, repairs what differs, says what it found, and ends."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer, image_of

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]

SUMMARY = re.compile(
    r"^scanned=(\d+) inserted=(\d+) replaced=(\d+) deleted=(\d+) unchanged=(\d+) seconds=\d+\.\d$", re.M
)


@pytest.fixture
def takes_a_while(client: MongoClient[Any]) -> Iterator[None]:
    """Let each chunk take 20 ms more: on a fast machine the whole would be over before it is looked at."""
    data = {"failCommands": ["commitTransaction"], "appName": "clientsync copier"}
    block = {"blockConnection": True, "blockTimeMS": 20}
    client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data | block})
    yield
    client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def summary(out: str) -> tuple[int, ...]:
    """Return scanned, inserted, replaced, deleted, unchanged."""
    found = SUMMARY.search(out)
    assert found, out
    return tuple(int(figure) for figure in found.groups())


def test_it_adds_repairs_and_removes_and_leaves_equal_ones_unwritten(
    connected: CommandLine, source: Customers, mirror: Customers
) -> None:
    customers = [customer(each) for each in range(100)]
    source.insert_many(customers)
    mirror.insert_many([image_of(each) for each in customers[:90]])
    mirror.update_many({"_id": {"$lt": 5}}, {"$set": {"lastName": "clear"}})
    mirror.insert_many([{"_id": "left over"}, {"_id": -1}])

    ended = connected("start", "--full")

    assert ended.code == 0
    assert summary(ended.out) == (100, 10, 5, 2, 85)
    assert are_twins(source, mirror)


def test_of_an_equal_mirror_nothing_is_written(
    connected: CommandLine, source: Customers, mirror: Customers
) -> None:
    source.insert_many([customer(each) for each in range(100)])
    connected("start", "--full")
    oplog = mirror.database.client.local["oplog.rs"]
    last = oplog.find_one(sort=[("$natural", -1)])
    assert last is not None

    ended = connected("start", "--full")

    written = {"ts": {"$gt": last["ts"]}, "ns": mirror.full_name}
    inside_transactions = {"ts": {"$gt": last["ts"]}, "o.applyOps.ns": mirror.full_name}
    assert summary(ended.out) == (100, 0, 0, 0, 100)
    assert oplog.count_documents({"$or": [written, inside_transactions]}) == 0


def test_of_an_empty_source_it_empties_the_mirror(
    connected: CommandLine, source: Customers, mirror: Customers
) -> None:
    source.insert_one(customer(1))
    source.delete_one({})
    mirror.insert_many([image_of(customer(each)) for each in range(10)])

    ended = connected("start", "--full")

    assert summary(ended.out) == (0, 0, 0, 10, 0)
    assert mirror.count_documents({}) == 0


@pytest.mark.usefixtures("takes_a_while")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_goes_on_where_it_was(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run, number: signal.Signals
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    slow = connected.having(SYNC_BATCH_SIZE="10")
    states = source.database["clientsync_state"]
    first = run(slow, "start", "--full", instance="full")

    def scanned() -> int:
        walk = states.find_one({"_id.kind": "walk"})
        return walk["copied"]["scanned"] if walk else 0

    eventually(lambda: scanned() >= 100)
    first.send(number)
    first.wait()
    before = scanned()
    ended = slow.having(SYNC_BATCH_SIZE="1000")("--instance", "full", "start", "--full")

    assert ended.code == 0
    assert before < 3_000
    assert "scan_resumed" in ended.out
    assert summary(ended.out)[:2] >= (3_000, before)
    assert are_twins(source, mirror)


@pytest.mark.usefixtures("takes_a_while")
@pytest.mark.parametrize("name", ["reindexer", "copier-1"])
def test_a_killed_child_of_it_is_replaced_and_goes_on(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run, name: str
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    states = source.database["clientsync_state"]
    daemon = run(connected.having(SYNC_BATCH_SIZE="10"), "start", "--full", instance="full")
    eventually(lambda: states.find_one({"_id.kind": "walk", "copied.scanned": {"$gt": 0}}))

    os.kill(daemon.child(name)["pid"], signal.SIGKILL)

    assert daemon.wait() == 0
    assert daemon.events("scan_resumed")
    assert are_twins(source, mirror)


@pytest.mark.usefixtures("takes_a_while")
def test_interrupted_it_begins_anew_when_the_mirror_was_dropped_meanwhile(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    states = source.database["clientsync_state"]
    first = run(connected.having(SYNC_BATCH_SIZE="10"), "start", "--full", instance="full")
    eventually(lambda: states.find_one({"_id.kind": "walk", "copied.scanned": {"$gt": 0}}))
    first.send(signal.SIGTERM)
    first.wait()
    mirror.drop()

    assert connected("start", "--full").code == 0

    assert are_twins(source, mirror)


@pytest.mark.usefixtures("takes_a_while")
def test_it_runs_beside_a_live_daemon_and_another_reindex_without_disturbing_them(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    live = run(connected, "start", "sync")
    live.healthy()
    slow = connected.having(SYNC_BATCH_SIZE="10")
    one, other = (run(slow, "start", "--full", instance=name) for name in ("one", "other"))
    one.wait_for("child_ready")
    other.wait_for("child_ready")

    for each in range(0, 3_000, 10):
        source.update_one({"_id": each}, {"$set": {"lastName": f"Roe {each}"}})
        source.delete_one({"_id": each + 1})
        source.insert_one(customer(10_000 + each))

    assert (one.wait(), other.wait()) == (0, 0)
    eventually(lambda: are_twins(source, mirror))
    assert live.healthy()["deaths"] == []


def test_beside_a_daemon_it_takes_a_name_of_its_own(
    connected: CommandLine, source: Customers, run: Run
) -> None:
    source.insert_one(customer(1))
    run(connected, "start", "sync").healthy()

    ended = connected("start", "--full")

    assert ended.code == 0
    assert '"instance": "full"' in ended.out


@pytest.mark.usefixtures("takes_a_while")
def test_without_a_terminal_a_line_tells_every_few_seconds_how_far_it_is(
    connected: CommandLine, source: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])

    daemon = run(connected.having(SYNC_BATCH_SIZE="10"), "start", "--full", instance="full")
    line = daemon.wait_for("reindex_progress")

    assert line["total"] == 3_000
    assert re.search(r"scanned \d+, .* of 3000, \d+/s, \d+ s left", line["message"])
