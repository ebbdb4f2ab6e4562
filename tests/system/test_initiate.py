"""What compose.yaml runs to make its MongoDB a replica set with users, on a real mongod with a key file."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.guarded import roles_in_operations
from tests.system.twins import customer

OPS = Path(__file__).parents[2] / "ops"
UNAUTHORIZED = 13


class Composed:
    """The service `mongo`, as it is before anybody has initiated it."""

    def __init__(self, directory: Path, mongod: MongodProcess) -> None:
        self.mongod, self._secrets = mongod, directory / "secrets"

    def up(self) -> None:
        """Do what comes before clientsync in `docker compose up`."""
        where = {"SECRETS": str(self._secrets), "MEMBER": self.mongod.address}
        subprocess.run([str(OPS / "secrets.sh"), str(self._secrets)], check=True)
        subprocess.run([sys.executable, str(OPS / "mongodb" / "initiate.py")], env=where, check=True)

    def secret(self, name: str) -> Path:
        return self._secrets / name

    def uri_of(self, user: str) -> str:
        return self.secret(f"{user}_uri").read_text().strip().replace("mongo:27017", self.mongod.address)


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("0123456789abcdef")
    options = ("--replSet", "rs0", "--keyFile", str(key), "--oplogSize", "512")
    with MongodProcess(tmp_path / "mongod", *options, replica_set=None) as mongod:
        yield Composed(tmp_path, mongod)


def test_the_users_of_the_composition_can_do_what_they_are_for_and_nothing_else(
    composed: Composed, command: CommandLine, run: Callable[..., DaemonProcess]
) -> None:
    composed.up()

    generator, mirror = composed.uri_of("generator"), composed.uri_of("clientsync")
    run(command.having(MONGO_URI=generator), "start", "app", instance="generator").healthy()
    daemon = run(command.having(MONGO_URI=mirror), "start", "sync")
    eventually(lambda: (daemon.healthy()["sync"]["mirrored_total"] or 0) > 0)
    with MongoClient[dict[str, Any]](mirror, timeoutMS=10_000) as client:
        made = client.admin.command("rolesInfo", "clientsync", showPrivileges=True)["roles"][0]["privileges"]
        with pytest.raises(OperationFailure) as refused:
            client.clientsync.customers.insert_one(customer(1))
    by_collection = {each["resource"]["collection"]: sorted(each["actions"]) for each in made}
    documented = [privilege for role in roles_in_operations() for privilege in role]
    assert by_collection == {each["resource"]["collection"]: sorted(each["actions"]) for each in documented}
    assert refused.value.code == UNAUTHORIZED
    with MongoClient[dict[str, Any]](generator, timeoutMS=10_000) as client, pytest.raises(OperationFailure):
        client.clientsync.customers.find_one()


def test_it_runs_again_at_each_start_and_takes_a_new_password(composed: Composed) -> None:
    composed.up()
    before = composed.uri_of("generator")
    composed.secret("generator_uri").unlink()
    composed.mongod.stop()

    composed.mongod.start()
    composed.up()

    assert composed.uri_of("generator") != before
    with MongoClient[dict[str, Any]](composed.uri_of("generator"), timeoutMS=10_000) as client:
        client.clientsync.customers.insert_one(customer(1))
    with MongoClient[dict[str, Any]](before, timeoutMS=10_000) as client, pytest.raises(OperationFailure):
        client.clientsync.customers.insert_one(customer(2))
