"""A MongoDB user with the rights that the README names, and with one of them missing."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Client = MongoClient[dict[str, Any]]
Run = Callable[..., DaemonProcess]

README = Path(__file__).parents[2] / "README.md"
SECRET = "s3cret-pass"
GENERIC = "MONGO_URI: a right on MongoDB is missing (code 13); `clientsync-supervisor check` names it"
SYNC_RIGHTS = [
    ("customers", "find"),
    ("customers", "changeStream"),
    ("customers_anonymised", "find"),
    ("customers_anonymised", "insert"),
    ("customers_anonymised", "update"),
    ("customers_anonymised", "remove"),
    ("clientsync_state", "find"),
    ("clientsync_state", "insert"),
    ("clientsync_state", "update"),
    ("clientsync_state", "remove"),
    ("", "listCollections"),
]


def rights_in_readme() -> list[tuple[str, str]]:
    """Return collection and action of each privilege of the role that the README creates."""
    (block,) = re.findall(r"db\.createRole\((.*?)\)\n", README.read_text(), re.DOTALL)
    role = json.loads(re.sub(r"(\w+): ", r'"\1": ', block))
    return [
        (each["resource"]["collection"], action) for each in role["privileges"] for action in each["actions"]
    ]


@dataclass(frozen=True)
class Guarded:
    """A MongoDB that wants a login, as its root sees it."""

    server: MongodProcess
    client: Client

    def uri_of_user_with(self, database: str, rights: list[tuple[str, str]]) -> str:
        """Make a user who may do no more than that in `database`; return the URI to connect with."""
        name = uuid4().hex
        privileges = [
            {"resource": {"db": database, "collection": collection}, "actions": [action]}
            for collection, action in rights
        ]
        self.client.admin.command("createRole", name, privileges=privileges, roles=[])
        self.client.admin.command("createUser", name, pwd=SECRET, roles=[name])
        return self.server.uri.replace(f"{self.server.user}:{self.server.password}@", f"{name}:{SECRET}@")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with (
        MongodProcess(tmp_path_factory.mktemp("guarded"), user="root", password="r00t-pass") as server,
        Client(server.uri, timeoutMS=10_000) as client,
    ):
        yield Guarded(server, client)


@pytest.fixture
def shop(guarded: Guarded) -> str:
    """The name of a database with a customer in it."""
    name = f"shop_{uuid4().hex[:8]}"
    guarded.client[name].customers.insert_one(customer(1))
    return name


@pytest.fixture
def guest(command: CommandLine, guarded: Guarded, shop: str) -> Callable[..., CommandLine]:
    """The command line as a user with these rights in the shop."""

    def having(rights: list[tuple[str, str]]) -> CommandLine:
        uri = guarded.uri_of_user_with(shop, rights)
        return replace(command.having(MONGO_URI=uri, MONGO_DB=shop), secrets=(SECRET, "r00t-pass"))

    return having


def is_over(daemon: DaemonProcess, source: "Collection[Any]") -> bool:
    """Change and delete customers, for which all rights are needed; tell whether the daemon has ended."""
    source.insert_one({"_id": "comes"})
    source.update_one({"_id": 1}, {"$inc": {"n": 1}})
    source.delete_one({"_id": "comes"})
    return daemon.process.poll() is not None


def test_the_rights_in_the_readme_are_enough(
    guest: Callable[..., CommandLine], guarded: Guarded, shop: str, run: Run
) -> None:
    cli = guest(rights_in_readme())
    source, mirror = guarded.client[shop].customers, guarded.client[shop].customers_anonymised
    assert cli("check").code == 0

    daemon = run(cli, "start", "sync")
    daemon.healthy()
    source.insert_one(customer(2))
    source.delete_one({"_id": 1})
    eventually(lambda: are_twins(source, mirror))

    assert cli("start", "--full").code == 0
    assert cli("verify").code == 0


def test_no_right_in_the_readme_is_dispensable() -> None:
    assert sorted(rights_in_readme()) == sorted(SYNC_RIGHTS)


@pytest.mark.parametrize(("collection", "action"), SYNC_RIGHTS)
def test_check_names_the_missing_right_and_start_ends_with_78(
    guest: Callable[..., CommandLine], guarded: Guarded, shop: str, run: Run, collection: str, action: str
) -> None:
    cli = guest([right for right in SYNC_RIGHTS if right != (collection, action)])

    checked = cli("check")
    daemon = run(cli, "start", "sync")
    eventually(lambda: is_over(daemon, guarded.client[shop].customers), 30, "the end of the daemon")

    missing = (
        f"MONGO_URI: its user lacks {action} on {collection or shop}; grant it (see README, minimal rights)"
    )
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1].startswith("WRONG ")
    assert checked.out.splitlines()[-1].endswith(f" {missing}")
    assert daemon.wait() == 78
    (line,) = [record["message"] for record in daemon.events("giving_up")]
    assert line.endswith((missing, GENERIC))
    assert daemon.told() == ""
    assert not (cli.state_dir / "default.sock").exists()


def test_the_generator_names_the_right_that_it_alone_needs(
    guest: Callable[..., CommandLine], run: Run
) -> None:
    cli = guest(SYNC_RIGHTS)

    daemon = run(cli, "start")

    assert daemon.wait() == 78
    (line,) = [record["message"] for record in daemon.events("giving_up")]
    assert line == (
        "generator: MONGO_URI: its user lacks insert on customers; grant it (see README, minimal rights)"
    )


def test_a_validator_on_the_mirror_takes_a_right_more(
    guest: Callable[..., CommandLine], guarded: Guarded, shop: str
) -> None:
    guarded.client[shop].create_collection("customers_anonymised", validator={"email": {"$type": "string"}})

    without = guest(SYNC_RIGHTS)("check")
    having = guest([*SYNC_RIGHTS, ("customers_anonymised", "bypassDocumentValidation")])("check")

    assert (without.code, having.code) == (1, 0)
    assert "its user lacks bypassDocumentValidation on customers_anonymised; grant it" in without.out


def test_a_uri_without_a_user_is_told_to_name_one(command: CommandLine, guarded: Guarded, run: Run) -> None:
    uri = guarded.server.uri.replace("root:r00t-pass@", "")
    cli = replace(command.having(MONGO_URI=uri), secrets=("r00t-pass",))

    checked = cli("check")
    daemon = run(cli, "start")

    assert checked.code == 1
    assert checked.out.splitlines()[-1].endswith(
        " MONGO_URI: it names no user, and nobody has listCollections on clientsync; "
        "put user:password@ into it"
    )
    assert daemon.wait() == 78
    (line,) = [record["message"] for record in daemon.events("giving_up")]
    assert line.endswith(GENERIC) or "MONGO_URI: it names no user, and nobody has " in line
