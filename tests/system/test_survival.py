"""kill -9 of anything, while customers come, change and go: the mirror is right afterwards."""

import os
import random
import signal
from collections.abc import Callable

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.mongod_process import mongods_of
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


def stir(source: Customers, dice: random.Random) -> None:
    """Insert, change, delete and re-insert a few customers."""
    for _ in range(20):
        id_ = dice.randrange(300)
        match dice.randrange(3):
            case 0:
                source.replace_one({"_id": id_}, customer(id_, f"N{dice.random()}"), upsert=True)
            case 1:
                source.update_one({"_id": id_}, {"$set": {"lastName": f"L{dice.random()}"}})
            case 2:
                source.delete_one({"_id": id_})


@pytest.mark.parametrize("child", ["listener", "scanner", "writer"])
def test_r1_a_killed_child_of_the_sync_loses_nothing(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run, child: str
) -> None:
    dice = random.Random(child)
    daemon = run(connected, "start", "sync")
    daemon.healthy()

    for _ in range(3):
        stir(source, dice)
        pid = daemon.pids()[child]
        os.kill(pid, signal.SIGKILL)
        stir(source, dice)
        daemon.replaced(child, pid)

    eventually(lambda: are_twins(source, mirror), 30)
    assert source.count_documents({}) > 0
    deaths = [death for death in daemon.healthy()["deaths"] if death["cause"] == "SIGKILL"]
    assert {death["child"] for death in deaths} == {child}


def test_r1_a_killed_daemon_loses_nothing(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    dice = random.Random(1)
    for round_ in range(4):
        daemon = run(connected, "start", "sync", instance=f"round-{round_}")
        daemon.wait_for("child_ready")
        stir(source, dice)
        daemon.send(signal.SIGKILL)
        daemon.wait()
        stir(source, dice)

    run(connected, "start", "sync", instance="last").healthy()

    eventually(lambda: are_twins(source, mirror), 30)
    assert source.count_documents({}) > 0


def test_a_killed_embedded_mongod_is_started_again_and_mirroring_goes_on(
    command: CommandLine, run: Run
) -> None:
    daemon = run(command, "start")
    before = daemon.healthy()
    eventually(lambda: daemon.status()["sync"]["mirrored_total"] > 0)
    (mongod,) = mongods_of(command.state_dir / "mongod")

    os.kill(mongod, signal.SIGKILL)
    server = next(child["pid"] for child in before["children"] if child["name"] == "server")
    daemon.replaced("server", server)
    mirrored = daemon.healthy()["sync"]["mirrored_total"]

    eventually(lambda: daemon.status()["sync"]["mirrored_total"] > mirrored)
    assert daemon.healthy()["deaths"][-1]["child"] == "server"
    assert command("verify").code == 0


def test_deaths_are_remembered_by_the_next_daemon(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start", "app")
    pid = daemon.healthy()["children"][0]["pid"]
    os.kill(pid, signal.SIGSEGV)
    daemon.replaced("generator", pid)
    assert daemon.ask("stop").code == 0

    (death,) = run(connected, "start", "app").healthy()["deaths"]

    assert (death["child"], death["pid"], death["cause"]) == ("generator", pid, "SIGSEGV")
    assert death["phase"] == "generating"


def test_a_stopped_writer_is_replaced_and_its_changes_are_not_lost(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    daemon = run(connected.having(HANG_TIMEOUT_MS="2000"), "start", "sync")
    pid = next(child["pid"] for child in daemon.healthy()["children"] if child["name"] == "writer")

    os.kill(pid, signal.SIGSTOP)
    source.update_many({}, {"$set": {"lastName": "Roe"}})
    daemon.replaced("writer", pid)

    eventually(lambda: are_twins(source, mirror))
    assert daemon.healthy()["deaths"][-1]["reason"].startswith("silent for ")
