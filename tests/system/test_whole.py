"""The whole daemon, as people start it: fake customers flow in, their images follow."""

from collections.abc import Callable
from typing import Any

from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

Client = MongoClient[dict[str, Any]]


def test_start_fills_the_source_and_mirrors_it_anonymised(
    connected: CommandLine, client: Client, database: Database, run: Callable[..., DaemonProcess]
) -> None:
    daemon = run(connected, "start")
    daemon.healthy()

    mirror = client[database.name][database.mirror]
    eventually(lambda: mirror.count_documents({}) >= 10)

    image = mirror.find_one({}, sort=[("_id", 1)])
    assert image is not None
    customer = client[database.name][database.source].find_one({"_id": image["_id"]})
    assert customer is not None
    assert list(image) == list(customer)
    assert image["email"].endswith(customer["email"].rpartition("@")[2])
    assert image["firstName"] != customer["firstName"]
    assert image["address"]["city"] == customer["address"]["city"]
    assert daemon.ask("verify").code == 0
