"""VERIFY_EVERY: the daemon looks after its mirror by itself; turned on and off, killed, started again."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from procs import state
from procs.config import Database
from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.test_reload import by_file, write
from tests.system.twins import Customer, are_twins, customer

__all__ = ["by_file"]

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


@pytest.fixture
def states(client: MongoClient[Customer], database: Database) -> Customers:
    return client[database.name][state.NAME]


def found(daemon: DaemonProcess) -> dict[str, Any]:
    """Return what status says of the last scheduled verify."""
    return daemon.status().get("verify") or {}


def verifies(daemon: DaemonProcess) -> bool:
    child = daemon.child("verifier")
    return bool(child and child["phase"] == "verifying" and child["gauges"].get("checked"))


def test_a_reload_turns_it_on_has_it_repair_and_turns_it_off_again(
    by_file: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    before = daemon.pids()
    assert (daemon.status()["verify"], "verifier" in before) == (None, False)
    mirror.delete_many({"_id": {"$in": [1, 2]}})
    mirror.update_one({"_id": 3}, {"$set": {"lastName": "somebody"}})
    mirror.insert_one({"_id": 99})

    write(by_file, VERIFY_EVERY="1s")
    assert daemon.ask("reload").out == "VERIFY_EVERY (none) -> 1s; restarted: verifier\n"

    verifier = daemon.pids()["verifier"]
    assert os.getpriority(os.PRIO_PROCESS, verifier) == 10
    told = daemon.wait_for("verify_differs")
    assert (told["level"], told["missing"], told["stale"], told["orphaned"]) == ("ERROR", 2, 1, 1)
    verify = eventually(lambda: (figures := found(daemon)).get("stale") and figures)
    assert verify.keys() == {
        "at",
        "compared",
        "missing",
        "stale",
        "orphaned",
        "unmirrorable",
        "seconds",
        "repaired",
    }
    assert verify["repaired"] == 0
    assert mirror.count_documents({"_id": {"$in": [1, 2, 99]}}) == 1

    write(by_file, VERIFY_REPAIR="true")
    assert daemon.ask("reload").out == "VERIFY_REPAIR false -> true\n"

    assert daemon.wait_for("verify_repaired")["repaired"] == 4
    assert are_twins(source, mirror)
    assert daemon.pids() == {**before, "verifier": verifier}

    write(by_file, VERIFY_EVERY="")
    assert daemon.ask("reload").code == 0

    assert daemon.pids() == before
    assert daemon.healthy()["deaths"] == []


def test_a_verify_that_is_killed_or_stopped_begins_again(
    by_file: CommandLine, source: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    write(by_file, VERIFY_EVERY="1h", SYNC_BATCH_SIZE="1")
    daemon.ask("reload")
    eventually(lambda: verifies(daemon), 30)

    killed = daemon.pids()["verifier"]
    os.kill(killed, signal.SIGKILL)

    daemon.replaced("verifier", killed)
    eventually(lambda: verifies(daemon), 30)
    assert daemon.status()["verify"] is None

    daemon.send(signal.SIGTERM)

    assert daemon.wait() == 0
    assert daemon.events("verify_clean") == []
    assert len(daemon.events("verify_interrupted")) == 1
    ended = [each for each in daemon.events("child_ended") if each["child"] == "verifier"]
    assert ended[-1]["cause"] == "exit code 0"

    write(by_file, SYNC_BATCH_SIZE="1000")
    daemon = run(by_file, "start", "sync")

    assert daemon.wait_for("verify_clean")["compared"] == 3_000


def test_the_schedule_and_the_result_survive_a_restart(
    connected: CommandLine, source: Customers, run: Run
) -> None:
    source.insert_one(customer(1))
    hourly = connected.having(VERIFY_EVERY="1h")
    daemon = run(hourly, "start", "sync")
    daemon.wait_for("verify_clean")
    first = eventually(lambda: found(daemon))
    daemon.ask("stop")

    daemon = run(hourly, "start", "sync")

    assert eventually(lambda: found(daemon)) == first
    eventually(lambda: daemon.child("verifier")["phase"] == "idle", 20)
    daemon.ask("stop")
    assert len(daemon.events("verify_clean")) == 1


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("VERIFY_EVERY", "900000", "a duration from 1s to 30d, such as 15m, 6h or 1d"),
        ("VERIFY_REPAIR", "perhaps", "true or false"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_starts(
    connected: CommandLine, name: str, value: str, must: str
) -> None:
    refused = connected.having(**{name: value})("start", "sync")

    assert (refused.code, refused.line) == (78, f"{name}='{value}' in the environment: must be {must}")


def test_of_two_instances_the_active_one_verifies_and_the_other_takes_over(
    connected: CommandLine, source: Customers, states: Customers, run: Run
) -> None:
    source.insert_one(customer(1))
    hourly = connected.having(VERIFY_EVERY="1h")
    active = run(hourly, "start", "sync")
    active.wait_for("verify_clean")
    standby = run(hourly, "start", "sync", instance="second")
    eventually(lambda: standby.child("verifier").get("phase") == "standby", 20)
    assert found(standby) == found(active)

    states.update_one({"_id.kind": "verify"}, {"$set": {"at": datetime.now(UTC) - timedelta(hours=2)}})
    active.ask("stop")

    standby.wait_for("verify_clean")
    assert len(active.events("verify_clean")) == 1
