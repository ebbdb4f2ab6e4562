"""A MongoDB user who lacks one of the rights that docs/operations.md names."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.guarded import ROOTS, SECRET, SYNC_RIGHTS, Guarded, guarded_mongod
from tests.system.twins import customer

Run = Callable[..., DaemonProcess]

GENERIC = "MONGO_URI: a right on MongoDB is missing (code 13); `clientsync-supervisor check` names it"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_mongod(tmp_path_factory.mktemp("guarded")) as server:
        yield server


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
        uri = guarded.uri_of_user_with(
            [
                {"resource": {"db": shop, "collection": collection}, "actions": [action]}
                for collection, action in rights
            ]
        )
        return replace(command.having(MONGO_URI=uri, MONGO_DB=shop), secrets=(SECRET, ROOTS))

    return having


def is_over(daemon: DaemonProcess, source: "Collection[Any]") -> bool:
    """Change and delete customers, for which all rights are needed; tell whether the daemon has ended."""
    source.insert_one({"_id": "comes"})
    source.update_one({"_id": 1}, {"$inc": {"n": 1}})
    source.delete_one({"_id": "comes"})
    return daemon.process.poll() is not None


@pytest.mark.parametrize(("collection", "action"), SYNC_RIGHTS)
def test_check_names_the_missing_right_and_start_ends_with_78(
    guest: Callable[..., CommandLine], guarded: Guarded, shop: str, run: Run, collection: str, action: str
) -> None:
    cli = guest([right for right in SYNC_RIGHTS if right != (collection, action)])

    checked = cli("check")
    daemon = run(cli, "start", "sync")
    eventually(lambda: is_over(daemon, guarded.client[shop].customers), 30, "the end of the daemon")

    missing = f"MONGO_URI: its user lacks {action} on {collection or shop}; grant it (see docs/operations.md)"
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
        "generator: MONGO_URI: its user lacks insert on customers; grant it (see docs/operations.md)"
    )


def test_a_validator_on_the_mirror_takes_a_right_more(
    guest: Callable[..., CommandLine], guarded: Guarded, shop: str
) -> None:
    guarded.client[shop].create_collection("customers_anonymised", validator={"email": {"$type": "string"}})

    without = guest(SYNC_RIGHTS)("check")
    having = guest([*SYNC_RIGHTS, ("customers_anonymised", "bypassDocumentValidation")])("check")

    assert (without.code, having.code) == (1, 0)
    assert "its user lacks bypassDocumentValidation on customers_anonymised; grant it" in without.out


def test_an_empty_mirror_of_another_collation_that_may_not_be_dropped_is_to_be_dropped_by_somebody_else(
    guest: Callable[..., CommandLine], guarded: Guarded, run: Run
) -> None:
    cli = guest(SYNC_RIGHTS)
    shop = guarded.client[cli.settings["MONGO_DB"]]
    shop.drop_collection("customers")
    shop.create_collection("customers", collation={"locale": "en", "strength": 2})
    shop.create_collection("customers_anonymised")

    daemon = run(cli, "start", "sync")

    assert daemon.wait() == 78
    (line,) = [record["message"] for record in daemon.events("giving_up")]
    assert "MIRROR_COLLECTION has another collation than SOURCE_COLLECTION" in line
    assert "drop it, and it is made anew" in line


def test_a_uri_without_a_user_is_told_to_name_one(command: CommandLine, guarded: Guarded, run: Run) -> None:
    uri = guarded.server.uri.replace(f"root:{ROOTS}@", "")
    cli = replace(command.having(MONGO_URI=uri), secrets=(ROOTS,))

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
