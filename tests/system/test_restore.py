"""After a restore from a backup: what was made anew is recognised, and the mirror follows by itself (R3)."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

Client = MongoClient[Customer]
Run = Callable[..., DaemonProcess]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongodProcess]:
    with MongodProcess(tmp_path / "mongod") as process:
        yield process


def dump(client: Client) -> dict[str, list[Customer]]:
    """Return the documents of each collection, as mongodump saves them."""
    return {name: [*client.clientsync[name].find()] for name in client.clientsync.list_collection_names()}


def restore(client: Client, dumped: dict[str, list[Customer]]) -> None:
    """Make these collections anew, as `mongorestore --drop` does."""
    for name, documents in dumped.items():
        client.clientsync.drop_collection(name)
        client.clientsync[name].insert_many(documents)


def is_right(client: Client) -> bool:
    return are_twins(client.clientsync.customers, client.clientsync.customers_anonymised)


def test_a_source_restored_in_place_is_mirrored_anew(
    command: CommandLine, server: MongodProcess, run: Run
) -> None:
    with Client(server.uri, timeoutMS=10_000) as client:
        source = client.clientsync.customers
        source.insert_many([customer(each) for each in range(20)])
        backup = {"customers": [*source.find()]}
        daemon = run(command.having(MONGO_URI=server.uri), "start", "sync")
        daemon.healthy()
        source.update_many({}, {"$set": {"lastName": "Since"}})
        source.insert_one(customer("since"))
        eventually(lambda: is_right(client) and source.count_documents({}) == 21)

        restore(client, backup)

        daemon.wait_for("source_found")
        eventually(lambda: is_right(client) and client.clientsync.customers_anonymised.find_one({"_id": 1}))
        assert client.clientsync.customers_anonymised.count_documents({}) == 20
        assert daemon.ask("verify").code == 0


def test_a_database_restored_into_another_server_with_its_state_is_mirrored_anew(
    command: CommandLine, server: MongodProcess, run: Run, tmp_path: Path
) -> None:
    with Client(server.uri, timeoutMS=10_000) as client:
        client.clientsync.customers.insert_many([customer(each) for each in range(20)])
        daemon = run(command.having(MONGO_URI=server.uri), "start", "sync")
        daemon.healthy()
        eventually(lambda: is_right(client))
        assert daemon.ask("stop").code == 0
        backup = dump(client)
    backup["customers"][0]["firstName"] = "Not the one that was mirrored"
    del backup["customers"][1]

    with MongodProcess(tmp_path / "other") as other, Client(other.uri, timeoutMS=10_000) as client:
        restore(client, backup)
        assert not is_right(client)
        again = run(command.having(MONGO_URI=other.uri), "start", "sync", instance="again")

        eventually(lambda: is_right(client), 30)
        again.wait_for("source_replaced")
        assert again.ask("verify").code == 0


def test_a_server_set_back_to_a_snapshot_of_its_files_goes_on_from_there(
    command: CommandLine, server: MongodProcess, run: Run
) -> None:
    cli = command.having(MONGO_URI=server.uri)
    with Client(server.uri, timeoutMS=10_000) as client:
        client.clientsync.customers.insert_many([customer(each) for each in range(20)])
        run(cli, "start", "sync").healthy()
        eventually(lambda: is_right(client))
        assert cli("stop").code == 0
    server.stop()
    data, snapshot = server.directory / "data", server.directory / "snapshot"
    data.rename(snapshot)
    shutil.copytree(snapshot, data)
    with server, Client(server.uri, timeoutMS=10_000) as client:
        run(cli, "start", "sync").healthy()
        client.clientsync.customers.update_many({}, {"$set": {"lastName": "Forgotten"}})
        eventually(lambda: is_right(client))
        assert cli("stop").code == 0
    data.rename(server.directory / "thrown away")
    snapshot.rename(data)

    with server, Client(server.uri, timeoutMS=10_000) as client:
        daemon = run(cli, "start", "sync", instance="back")
        client.clientsync.customers.insert_one(customer("new"))

        eventually(lambda: is_right(client) and client.clientsync.customers.count_documents({}) == 21)
        assert daemon.events("scan_begins") == []
        assert daemon.ask("verify").code == 0
