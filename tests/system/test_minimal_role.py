"""The role that docs/operations.md creates: it is enough for everything, and it cannot write the source."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.guarded import (
    ROOTS,
    SECRET,
    SYNC_RIGHTS,
    Guarded,
    Privilege,
    guarded_mongod,
    roles_in_operations,
)
from tests.system.twins import Customer, are_twins, customer

Run = Callable[..., DaemonProcess]

UNAUTHORIZED = 13


MINIMAL, OPTIONAL = roles_in_operations()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_mongod(tmp_path_factory.mktemp("guarded")) as server:
        yield server


@pytest.fixture
def shop(guarded: Guarded) -> str:
    return f"shop_{uuid4().hex[:8]}"


@pytest.fixture
def source(guarded: Guarded, shop: str) -> "Collection[Customer]":
    return guarded.client[shop].customers


@pytest.fixture
def mirror(guarded: Guarded, shop: str) -> "Collection[Customer]":
    return guarded.client[shop].customers_anonymised


@pytest.fixture
def user(command: CommandLine, guarded: Guarded, shop: str) -> Callable[[list[Privilege]], CommandLine]:
    """The command line as a user with such privileges, in a database of its own."""

    def having(privileges: list[Privilege]) -> CommandLine:
        ours = json.loads(json.dumps(privileges).replace('"db": "clientsync"', f'"db": "{shop}"'))
        uri = guarded.uri_of_user_with(ours)
        return replace(command.having(MONGO_URI=uri, MONGO_DB=shop), secrets=(SECRET, ROOTS))

    return having


def test_no_right_of_the_minimal_role_is_dispensable() -> None:
    rights = [(each["resource"]["collection"], action) for each in MINIMAL for action in each["actions"]]

    assert sorted(rights) == sorted(SYNC_RIGHTS)
    assert {each["resource"]["db"] for each in MINIMAL} == {"clientsync"}


def test_the_minimal_role_is_enough_for_everything(
    user: Callable[..., CommandLine],
    source: "Collection[Customer]",
    mirror: "Collection[Customer]",
    run: Run,
) -> None:
    cli = user(MINIMAL)
    source.insert_one(customer(1))
    assert cli("check").code == 0

    first = run(cli.having(VERIFY_EVERY="1s"), "start", "sync")
    first.healthy()
    second = run(cli, "start", "sync", instance="second")
    second.healthy()
    source.insert_one(customer(2))
    source.delete_one({"_id": 1})
    eventually(lambda: are_twins(source, mirror))
    assert cli("start", "--full").code == 0
    assert cli("verify").code == 0
    first.wait_for("verify_clean")
    first.process.kill()
    second.wait_for("lease_acquired")
    source.insert_one(customer(3))
    eventually(lambda: are_twins(source, mirror))

    assert eventually(lambda: second.status()["stream"]["checkpoint_age_s"]) is not None
    assert eventually(lambda: second.status()["stream"]["lease"]["ours"])
    assert second.status()["stream"]["oplog_window_s"] is None
    assert second.healthy()["health"] == "healthy"
    assert second.ask("stop").code == 0


def test_the_optional_role_adds_the_oplog_window_to_what_status_shows(
    user: Callable[..., CommandLine], source: "Collection[Customer]", run: Run
) -> None:
    source.insert_one(customer(1))

    daemon = run(user([*MINIMAL, *OPTIONAL]), "start", "sync")
    daemon.healthy()

    shown = eventually(lambda: daemon.status()["stream"]["oplog_window_s"])
    assert shown > 0


@pytest.mark.parametrize(
    ("forbidden", "collection"),
    [
        (lambda source: source.insert_one({}), "customers"),
        (lambda source: source.update_one({"_id": 1}, {"$set": {"n": 1}}), "customers"),
        (lambda source: source.delete_one({"_id": 1}), "customers"),
        (lambda source: source.replace_one({"_id": 1}, {}), "customers"),
        (lambda source: source.drop(), "customers"),
        (lambda source: source.rename("others"), "customers"),
        (lambda source: source.create_index("n"), "customers"),
        (lambda others: others.find_one(), "others"),
        (lambda others: others.insert_one({}), "others"),
    ],
    ids=["insert", "update", "delete", "replace", "drop", "rename", "index", "read others", "write others"],
)
def test_the_minimal_role_may_neither_write_the_source_nor_see_anything_else(
    user: Callable[..., CommandLine],
    source: "Collection[Customer]",
    shop: str,
    forbidden: Callable[["Collection[Customer]"], Any],
    collection: str,
) -> None:
    source.insert_one(customer(1))
    uri = user([*MINIMAL, *OPTIONAL]).settings["MONGO_URI"]

    with MongoClient[Customer](uri, timeoutMS=10_000) as client, pytest.raises(OperationFailure) as refused:
        forbidden(client[shop][collection])

    assert refused.value.code == UNAUTHORIZED
    assert [*source.find()] == [customer(1)]
