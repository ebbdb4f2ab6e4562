"""The whole daemon, as people start it."""

import signal
from collections.abc import Callable

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.mongod_process import mongods_of
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer, image_of

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


def test_start_fills_the_source_and_mirrors_it_anonymised(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    daemon = run(connected, "start")
    daemon.healthy()
    eventually(lambda: mirror.count_documents({}) >= 10)

    assert daemon.ask("stop").code == 0

    assert source.count_documents({}) >= 10
    assert are_twins(source, mirror)


def test_without_any_setting_it_brings_its_own_mongodb(command: CommandLine, run: Run) -> None:
    daemon = run(command, "start")

    status = daemon.healthy()
    eventually(lambda: daemon.status()["sync"]["mirrored_total"] >= 5)

    assert [child["name"] for child in status["children"]] == [
        "server",
        "generator",
        "listener",
        "scanner",
        "writer",
    ]
    assert "***" in status["mongo_uri"]
    assert command("verify").code == 0
    assert command("check").code == 0
    assert daemon.ask("stop").code == 0
    assert mongods_of(command.state_dir / "mongod") == []


def test_the_embedded_mongodb_keeps_its_customers_over_a_restart_and_a_kill(
    command: CommandLine, run: Run
) -> None:
    first = run(command.having(FAKER_BATCH_MIN="50", FAKER_BATCH_MAX="50"), "start")
    first.healthy()
    eventually(lambda: first.status()["sync"]["mirrored_total"] >= 50)
    first.send(signal.SIGKILL)
    first.wait()

    second = run(command, "start", "sync", instance="other")
    second.healthy()

    verdict = command("verify")
    assert verdict.code == 0
    assert int(verdict.out.split()[0].removeprefix("compared=")) >= 50


def test_start_app_only_generates(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    daemon = run(connected, "start", "app")

    daemon.healthy()
    eventually(lambda: source.count_documents({}) > 0)

    assert list(daemon.pids()) == ["generator"]
    assert mirror.count_documents({}) == 0


def test_start_sync_only_mirrors(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(5)])

    daemon = run(connected, "start", "sync")
    daemon.healthy()

    assert list(daemon.pids()) == ["listener", "scanner", "writer"]
    eventually(lambda: are_twins(source, mirror))
    assert source.count_documents({}) == 5


def test_every_kind_of_change_reaches_the_mirror(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(10)])
    run(connected, "start", "sync").healthy()

    source.insert_one(customer("new"))
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})
    source.replace_one({"_id": 2}, customer(2, "Max"))
    source.delete_one({"_id": 3})
    source.delete_one({"_id": 4})
    source.insert_one(customer(4, "Reborn"))

    eventually(lambda: mirror.count_documents({"_id": {"$in": ["new", 4]}}) == 2)
    eventually(lambda: are_twins(source, mirror))
    assert mirror.find_one({"_id": 4}) == image_of(customer(4, "Reborn"))


def test_r2_what_changes_while_it_is_down_is_applied_at_the_next_start(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(200)])
    first = run(connected, "start", "sync")
    first.healthy()
    eventually(lambda: are_twins(source, mirror))
    assert first.ask("stop").code == 0

    source.update_many({"_id": {"$lt": 50}}, {"$set": {"lastName": "Roe"}})
    source.delete_many({"_id": {"$gte": 150}})
    source.insert_one(customer(-1))
    second = run(connected, "start", "sync", instance="second")

    eventually(lambda: are_twins(source, mirror))
    assert second.events("scan_begins") == []


def test_r4_instances_in_different_modes_run_side_by_side(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    fast = connected.having(FAKER_FILLING_DELAY_MS="20")
    app = run(fast, "start", "app", instance="app")
    everything = run(fast, "start", instance="everything")
    sync = run(fast, "start", "sync", instance="sync")
    for daemon in (app, everything, sync):
        daemon.healthy()
    assert {daemon.status()["sync"]["phase"] for daemon in (everything, sync)} == {"live", "standby"}

    before = source.estimated_document_count()
    eventually(lambda: source.estimated_document_count() > before + 100)
    assert connected("--instance", "full", "start", "--full").code == 0
    for daemon in (app, everything):
        assert daemon.ask("stop").code == 0

    eventually(lambda: sync.status()["sync"]["phase"] == "live")
    eventually(lambda: are_twins(source, mirror))
    assert sync.healthy()["deaths"] == []


def test_r4_another_instance_stands_by_and_takes_over_when_the_first_is_killed(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    first = run(connected, "start", "sync")
    first.healthy()
    second = run(connected, "start", "sync", instance="second")
    assert second.healthy()["sync"]["phase"] == "standby"
    assert second.child("scanner")["phase"] == "standby"

    first.send(signal.SIGKILL)
    source.insert_one(customer(1))

    eventually(lambda: are_twins(source, mirror) and mirror.count_documents({}) == 1)
    assert second.healthy()["sync"]["phase"] == "live"


def test_a_seed_makes_the_same_customers_again(connected: CommandLine, source: Customers, run: Run) -> None:
    def first_customers(instance: str) -> list[Customer]:
        seeded = connected.having(FAKER_SEED="7", FAKER_FILLING_DELAY_MS="0")
        daemon = run(seeded, "start", "app", instance=instance)
        eventually(lambda: source.count_documents({}) >= 100)
        assert daemon.ask("stop").code == 0
        found = list(source.find({}, {"_id": 0, "createdAt": 0}, sort=[("$natural", 1)], limit=100))
        source.delete_many({})
        return found

    assert first_customers("one") == first_customers("two")


@pytest.mark.parametrize("delay_ms", ["0", "20"])
def test_batches_are_as_large_as_was_asked_for(
    connected: CommandLine, source: Customers, run: Run, delay_ms: str
) -> None:
    settings = {"FAKER_BATCH_MIN": "3", "FAKER_BATCH_MAX": "5", "FAKER_FILLING_DELAY_MS": delay_ms}
    daemon = run(connected.having(**settings), "start", "app")
    eventually(lambda: source.count_documents({}) >= 50)
    assert daemon.ask("stop").code == 0

    batches = source.aggregate([{"$group": {"_id": "$createdAt", "size": {"$sum": 1}}}])

    sizes = {batch["size"] for batch in batches}
    assert sizes <= set(range(3, 11))  # two batches may be created in one millisecond
    assert sizes & {3, 4, 5}
