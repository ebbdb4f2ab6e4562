"""R1: the disk of an external MongoDB fills up while a daemon mirrors, and is given room again."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.small_disk import fill, small_disk
from tests.system.twins import are_twins, customer

Run = Callable[..., DaemonProcess]


def test_r1_a_mongodb_that_dies_of_a_full_disk_is_waited_for_and_nobody_is_lost(
    tmp_path: Path, run: Run
) -> None:
    with (
        small_disk(tmp_path / "disk", "500m") as disk,
        MongodProcess(disk, cache_gb=0.25) as mongod,
        MongoClient[Any](mongod.uri, timeoutMS=5_000) as client,
    ):
        source, mirror = client["clientsync"]["customers"], client["clientsync"]["customers_anonymised"]
        source.insert_many([customer(each) for each in range(1_000)])
        daemon = run(CommandLine(tmp_path, {"MONGO_URI": mongod.uri}), "start", "sync")
        daemon.healthy()
        eventually(lambda: are_twins(source, mirror))
        before = daemon.pids()
        acknowledged: list[str] = []

        def is_dead() -> bool:
            """Change customers until the server, at one of its checkpoints, finds no room."""
            with contextlib.suppress(PyMongoError), pymongo.timeout(1):
                for number in range(len(acknowledged), len(acknowledged) + 20):
                    source.insert_one(customer(f"late {number}"))
                    acknowledged.append(f"late {number}")
                source.update_many({"_id": {"$lt": 100}}, {"$inc": {"visits": 1}})
                source.delete_one({"_id": 999 - len(acknowledged)})
                client.admin.command("fsync")
            return mongod.process is not None and mongod.process.poll() is not None

        filled = fill(disk)
        eventually(is_dead, 60)
        eventually(lambda: daemon.status().get("reason") == "MongoDB cannot be reached")
        filled.unlink()
        mongod.kill()
        mongod.start()

        daemon.healthy()
        eventually(lambda: are_twins(source, mirror), 30)
        assert source.count_documents({"_id": {"$in": acknowledged}}) == len(acknowledged) > 0
        assert daemon.pids() == before
        assert [len(daemon.events(f"mongodb_{what}")) for what in ("unreachable", "reachable")] == [1, 1]
        assert daemon.events("history_lost") == []
