"""R1: customers that a killed `--full` has open in a transaction are not kept from everybody else."""

from collections.abc import Callable
from typing import Any

from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongo.customers import Customers
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

SOON_S = 25
"""Well below the minute after which the server ends a transaction by itself."""


def test_r1_a_full_killed_before_its_commit_does_not_hold_up_the_live_mirror(
    client: MongoClient[Any],
    connected: CommandLine,
    source: Customers,
    mirror: Customers,
    run: Callable[..., DaemonProcess],
) -> None:
    source.insert_many([customer(each) for each in range(50)])
    live = run(connected, "start", "sync", instance="live")
    live.healthy()
    eventually(lambda: are_twins(source, mirror))
    mirror.delete_many({})
    data = {"failCommands": ["commitTransaction"], "appName": "clientsync copier"}
    block = {"blockConnection": True, "blockTimeMS": 120_000}
    before = client.admin.command(
        {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data | block}
    )["count"]
    try:
        full = run(connected, "start", "--full", instance="full")
        client.admin.command(
            {"waitForFailPoint": "failCommand", "timesEntered": before + 1, "maxTimeMS": 20_000}
        )

        full.end()
        source.update_many({}, {"$set": {"lastName": "Roe"}})

        eventually(lambda: are_twins(source, mirror), SOON_S)
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
