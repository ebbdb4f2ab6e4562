"""R6: no value of a customer and no secret in anything that is printed, logged, kept or shown (canaries)."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.mongod_process import MongodProcess, mongods_of
from tests.system.canaries import KINDS, Aviary, Places
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

Run = Callable[..., DaemonProcess]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with MongodProcess(tmp_path_factory.mktemp("guarded"), user="root", password="secret") as server:
        yield server


@pytest.fixture
def aviary() -> Aviary:
    return Aviary()


@pytest.fixture
def shop(guarded: MongodProcess, aviary: Aviary) -> Database:
    """A database whose user has a canary for a password, and one that has to be percent-encoded."""
    password = f"p@ss/:%{aviary.secrets.word('password')}"
    name = f"shop_{uuid4().hex[:12]}"
    with MongoClient[Any](guarded.uri, timeoutMS=30_000) as client:
        client.admin.command("createUser", name, pwd=password, roles=["root"])
    uri = guarded.uri.replace("root:secret@", f"{name}:{quote(password, safe='')}@")
    return Database(uri, name, "customers", "customers_anonymised")


def hand_over(cli: CommandLine, secrets: dict[str, str], files: Path | None) -> CommandLine:
    """Give secrets as files in a directory of the operator's, or (None) as variables."""
    if files is None:
        return cli.having(**secrets)
    for name, secret in secrets.items():
        (files / name).write_text(secret)
    return cli.having(**{f"{name}_FILE": str(files / name) for name in secrets})


@pytest.mark.parametrize(
    ("log_format", "unknown", "in_files"),
    [("json", "copy", True), ("console", "hash", False)],
    ids=["json, copy, secrets in files", "console, hash, secrets in variables"],
)
def test_r6_no_canary_gets_out_of_a_life_of_the_daemon(
    command: CommandLine,
    shop: Database,
    aviary: Aviary,
    run: Run,
    tmp_path_factory: pytest.TempPathFactory,
    log_format: str,
    unknown: str,
    in_files: bool,
) -> None:
    files = tmp_path_factory.mktemp("secrets") if in_files else None
    env_file = command.directory / ".env"
    env_file.write_text("SYNC_FLUSH_MS=50\n")
    cli = command.having(
        MONGO_DB=shop.name, ANON_UNKNOWN_FIELDS=unknown, LOG_LEVEL="DEBUG", LOG_FORMAT=log_format
    )
    cli = hand_over(cli, {"MONGO_URI": shop.uri, "ANON_KEY": aviary.secrets.word("key")}, files)
    places = Places(cli, shop)
    customers = aviary.customers(unknown_is_carried=unknown == "copy")

    with MongoClient[Any](shop.uri, timeoutMS=30_000) as client:
        source, mirror = client[shop.name][shop.source], client[shop.name][shop.mirror]
        source.insert_many(customers[: len(KINDS) // 2])
        daemon = run(cli, "start", "sync")
        daemon.healthy()
        source.insert_many(customers[len(KINDS) // 2 :])
        eventually(lambda: mirror.count_documents({}) == len(KINDS))
        changed = {"firstName": aviary.sensitive.word("changed firstName")}
        source.update_many({"_id": {"$in": [each["_id"] for each in customers[:4]]}}, {"$set": changed})
        source.delete_one({"_id": customers[-1]["_id"]})
        eventually(lambda: mirror.count_documents({}) == len(KINDS) - 1)
    assert places.ask("verify").code == 0
    assert places.ask("verify", "--json").code == 0
    assert places.ask("check").code == 0
    assert places.ask("status").code == 0
    assert shop.name in json.loads(places.ask("status", "--json").out)["mongo_uri"]
    places.keep(daemon)
    if files is not None:
        (files / "ANON_KEY").write_text(aviary.secrets.word("second key"))
    env_file.write_text("SYNC_FLUSH_MS=60\nSYNC_BATCH_SIZE=3\n")
    assert places.ask("reload").code == 0
    assert places.ask("start", "--full").code == 0
    assert places.ask("verify").code == 0
    assert places.ask("stop").code == 0
    assert daemon.wait() == 0

    assert len(places.mirror()) == len(KINDS) - 1
    assert len(places.state()) > 2
    assert len(places.shown()) > 12
    everything = places.shown() | places.state() | places.mirror()
    assert aviary.sensitive.found_in(everything) == []
    assert aviary.secrets.found_in(everything) == []
    assert aviary.carried.found_in(places.shown()) == []
    # Where they belong they are found: the search can see.
    assert {found.split(":")[0] for found in aviary.carried.found_in(places.mirror())} >= {"_id"}
    assert cli("uri").out == f"{shop.uri}\n"


def test_r6_no_canary_gets_out_of_the_embedded_mongodb(
    command: CommandLine, aviary: Aviary, run: Run
) -> None:
    cli = command.having(LOG_LEVEL="DEBUG", ANON_KEY=aviary.secrets.word("key"))
    daemon = run(cli, "start", "sync")
    daemon.healthy()
    database = Database(cli("uri").out.strip(), "clientsync", "customers", "customers_anonymised")
    places = Places(cli, database)
    customers = aviary.customers(unknown_is_carried=True)
    with closing(MongoClient[Any](database.uri, timeoutMS=30_000)) as client:
        source = client[database.name][database.source]
        source.insert_many(customers)
        slow = {"firstName": customers[0]["firstName"], "$where": "sleep(120) || true"}
        assert source.find_one(slow) is not None
        eventually(lambda: len(places.mirror()) == len(KINDS))
    assert places.ask("verify").code == 0
    places.keep(daemon)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0

    assert "state/mongod/mongod.log" in places.shown()
    assert mongods_of(cli.state_dir / "mongod") == []
    assert aviary.sensitive.found_in(places.shown()) == []
    assert aviary.secrets.found_in(places.shown()) == []
