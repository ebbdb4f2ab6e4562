"""What `status` tells goes on when children die: counts, lag, lease, causes."""

import os
import signal
from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.conftest import SmallTree
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


def counter(daemon: DaemonProcess, name: str) -> dict[str, int]:
    found: dict[str, int] = daemon.status()["counters"].get(name, {})
    return found


def test_counts_go_on_over_the_lives_of_a_child_and_restarts_have_their_cause(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(100)])
    daemon = run(connected, "start", "sync")
    daemon.healthy()
    eventually(lambda: counter(daemon, "customers_mirrored").get("result=inserted") == 100)
    pid = daemon.pids()["scanner"]

    os.kill(pid, signal.SIGKILL)
    daemon.replaced("scanner", pid)
    daemon.healthy()
    source.insert_one(customer(100))

    eventually(lambda: counter(daemon, "customers_mirrored")["result=inserted"] >= 101)
    assert are_twins(source, mirror)
    assert counter(daemon, "child_restarts")["child=scanner,cause=SIGKILL"] == 1
    assert counter(daemon, "fences") == {"": 2}
    assert daemon.child("scanner")["last_death"]["cause"] == "SIGKILL"
    assert daemon.status()["sync"]["mirrored_total"] >= 101


def test_the_stream_is_told_with_lease_and_checkpoint(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start", "sync")
    daemon.healthy()

    stream: dict[str, Any] = eventually(
        lambda: (now := daemon.status()["stream"])["checkpoint_age_s"] is not None and now
    )

    assert stream["lease"]["holder"].startswith("default@")
    assert (stream["lease"]["ours"], stream["lease"]["held"], stream["standbys"]) == (True, True, [])
    assert stream["oplog_window_s"] is not None
    assert daemon.status()["sync"]["lag_s"] == 0.0


def test_how_far_the_checkpoint_is_stays_known_when_the_listener_dies(
    connected: CommandLine, run: Run
) -> None:
    daemon = run(connected, "start", "sync")
    daemon.healthy()
    eventually(lambda: daemon.status()["stream"]["checkpoint_age_s"] is not None)
    pid = daemon.pids()["listener"]

    os.kill(pid, signal.SIGKILL)
    daemon.replaced("listener", pid)

    assert daemon.status()["stream"]["checkpoint_age_s"] is not None


def test_a_child_that_hung_is_counted_as_that(plant: Callable[..., SmallTree]) -> None:
    tree = plant(HANG_TIMEOUT_MS="2000")
    tree.healthy()
    pid = tree.pids()["solo"]

    tree.tell("solo", "hang")
    tree.replaced("solo", pid)

    restarts = counter(tree, "child_restarts")
    assert restarts["child=solo,cause=hang"] == 1
    assert restarts.get("child=solo,cause=SIGKILL", 0) == 0
