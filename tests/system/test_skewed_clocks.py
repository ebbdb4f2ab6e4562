"""R4: machines whose clocks differ by hours; only the server's clock decides who is active."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
HOURS = 5

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="needs Debian's package faketime")


def skewed(cli: CommandLine, hours: int) -> CommandLine:
    """Return the command line on a machine whose clock is wrong by so many hours."""
    return cli.having(LD_PRELOAD=str(FAKETIME), FAKETIME=f"{hours:+}h")


@pytest.mark.parametrize(("first_hours", "second_hours"), [(HOURS, 0), (0, HOURS), (-HOURS, HOURS)])
def test_r4_clocks_that_are_hours_apart_neither_take_the_lease_away_nor_keep_it(
    connected: CommandLine,
    source: "Collection[Customer]",
    mirror: "Collection[Customer]",
    run: Callable[..., DaemonProcess],
    first_hours: int,
    second_hours: int,
) -> None:
    first = run(skewed(connected, first_hours), "start", "sync", instance="first")
    first.healthy()
    second = run(skewed(connected, second_hours), "start", "sync", instance="second")
    second.healthy()
    source.insert_many([customer(each) for each in range(50)])
    eventually(lambda: are_twins(source, mirror))
    began = [daemon.records()[0]["time"] for daemon in (first, second)]

    assert (began[0] > began[1]) == (first_hours > second_hours), "the clocks are not skewed"
    assert second.status()["sync"]["phase"] == "standby"
    assert second.events("lease_acquired") == []
    first.process.kill()
    second.wait_for("lease_acquired", 5)
    source.update_many({}, {"$set": {"lastName": "Roe"}})
    source.delete_one({"_id": 1})
    eventually(lambda: are_twins(source, mirror))
