"""R1, R2, R4: all of the active instance is stopped in the midst of work, and wakes up after a take-over."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.faults.effort import IN_FULL
from tests.mongo.customers import Customers
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Client = MongoClient[Any]
Run = Callable[..., DaemonProcess]

TAKES_OVER_S = 10
"""More than a lease on a machine that is busy; less than the minute that a transaction may be open."""


@contextlib.contextmanager
def stalled(daemon: DaemonProcess) -> Iterator[None]:
    """Meanwhile nothing of the daemon runs, neither the supervisor nor a child."""
    pids = sorted(daemon.processes())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def held_between_reading_and_writing(client: Client) -> Iterator[Callable[[], None]]:
    """The next write of a writer takes long enough to be overtaken; yield what waits until it has begun."""
    data = {"failCommands": ["update"], "appName": "clientsync writer", "blockConnection": True}
    slow = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data | {"blockTimeMS": 1_000}}
    before = client.admin.command(slow)["count"]

    def has_begun() -> None:
        client.admin.command(
            {"waitForFailPoint": "failCommand", "timesEntered": before + 1, "maxTimeMS": 10_000}
        )

    try:
        yield has_begun
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def position(states: Customers) -> tuple[int, str]:
    """Return what only ever grows: the term of the checkpoint, and its place in the stream."""
    found = states.find_one({"_id.kind": "checkpoint"}) or {}
    return found["term"], found["token"]["_data"]


def holds(states: Customers) -> str:
    return str((states.find_one({"_id.kind": "lease"}) or {}).get("holder", "")).partition("@")[0]


def test_r1_a_holder_stopped_between_reading_and_writing_undoes_nothing_when_it_wakes_up(
    client: Client,
    connected: CommandLine,
    source: Customers,
    mirror: Customers,
    states: Customers,
    run: Run,
) -> None:
    source.insert_many([customer(each) for each in range(200)])
    cli = connected.having(SYNC_LEASE_MS="2000")
    old = run(cli, "start", "sync", instance="old")
    old.healthy()
    source.update_one({"_id": 0}, {"$set": {"lastName": "Roe"}})  # from here on its writer is registered
    eventually(lambda: are_twins(source, mirror))
    new = run(cli, "start", "sync", instance="new")
    assert new.healthy()["sync"]["phase"] == "standby"

    with held_between_reading_and_writing(client) as has_begun:
        source.update_many({"_id": {"$lt": 100}}, {"$set": {"firstName": "Jane"}})
        has_begun()
        with stalled(old):
            source.update_many({"_id": {"$lt": 100}}, {"$set": {"firstName": "John"}})
            source.delete_many({"_id": {"$gte": 190}})
            source.insert_many([customer(each) for each in range(190, 195)])
            source.insert_one(customer("new"))

            eventually(lambda: holds(states) == "new", TAKES_OVER_S)
            eventually(lambda: are_twins(source, mirror), TAKES_OVER_S)
            new.healthy()
            taken_over = position(states)

    positions = [taken_over]

    def stands_by() -> bool:
        assert are_twins(source, mirror), "what woke up has undone a change"
        positions.append(position(states))
        return bool(old.events("lease_lost")) and old.status()["sync"]["phase"] == "standby"

    eventually(stands_by)
    source.update_many({}, {"$set": {"lastName": "Doe"}})
    eventually(lambda: are_twins(source, mirror) and position(states) > positions[-1])
    assert positions == sorted(positions)
    assert holds(states) == "new"
    for daemon in (old, new):
        assert {child["restarts"] for child in daemon.status()["children"]} == {0}
        assert daemon.events("history_lost") == []


@pytest.mark.skipif(not IN_FULL, reason="make faults")
def test_r4_a_holder_stopped_in_the_midst_of_a_scan_leaves_the_rest_of_it_to_the_next_and_back(
    connected: CommandLine, source: Customers, mirror: Customers, states: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    mirror.insert_many([{"_id": each + 0.5} for each in range(500)])
    slow = connected.having(SYNC_BATCH_SIZE="20", SYNC_LEASE_MS="2000")
    old = run(slow, "start", "sync", instance="old")
    old.wait_for("scan_begins")
    new = run(slow, "start", "sync", instance="new")
    eventually(lambda: states.count_documents({"_id.kind": "walk", "copied.scanned": {"$gt": 100}}))

    with stalled(old):
        source.update_many({"_id": {"$lt": 10}}, {"$set": {"firstName": "Jane"}})
        source.delete_many({"_id": {"$gte": 2_900}})
        eventually(lambda: holds(states) == "new", TAKES_OVER_S)
        new.wait_for("scan_done")
        eventually(lambda: are_twins(source, mirror))
    with stalled(new):
        source.update_many({"_id": {"$lt": 10}}, {"$set": {"firstName": "John"}})
        eventually(lambda: holds(states) == "old", TAKES_OVER_S)
        eventually(lambda: are_twins(source, mirror), 30)

    eventually(lambda: [daemon.status()["sync"]["phase"] for daemon in (old, new)] == ["live", "standby"])
    assert states.count_documents({"_id.kind": "walk"}) == 0
    assert are_twins(source, mirror)
    for daemon in (old, new):
        assert {child["restarts"] for child in daemon.status()["children"]} == {0}
