"""A MongoDB, or collections in it, that cannot serve: exit 78 and one line, and `check` tells the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase

from procs.config import Database
from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer, hashed, image_of

Client = MongoClient[dict[str, Any]]
Customers = Collection[dict[str, Any]]
Run = Callable[..., DaemonProcess]

SECRET = "s3cret-pass"
NO_SUCH_SET = (
    "MONGO_URI: the servers are up, but in no replica set, or in another than its option replicaSet says; "
    "correct that, or start mongod with --replSet and run rs.initiate()"
)
NO_SET = (
    "MONGO_URI: the server is not a replica set, so it has no change stream and no transaction; "
    "start mongod with --replSet and run rs.initiate() (one member is enough)"
)


@pytest.fixture
def shop(client: Client, database: Database) -> "MongoDatabase[dict[str, Any]]":
    """The database of `connected`."""
    return client[database.name]


def assert_refused(cli: CommandLine, run: Run, line: str, *start: str) -> None:
    """Fail unless `check` and `start` both refuse with this line."""
    daemon = run(cli, *(start or ("start", "sync")))
    checked = cli("check")

    assert daemon.wait() == 78
    (given_up,) = [record["message"] for record in daemon.events("giving_up")]
    assert given_up.partition(": ")[2] == line
    assert daemon.told() == ""
    assert not (cli.state_dir / "default.sock").exists()
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1].startswith("WRONG ")
    assert checked.out.splitlines()[-1].endswith(f" {line}")


def make_view(shop: "MongoDatabase[dict[str, Any]]", name: str) -> None:
    shop.create_collection(name, viewOn="others", pipeline=[])


def make_time_series(shop: "MongoDatabase[dict[str, Any]]", name: str) -> None:
    shop.create_collection(name, timeseries={"timeField": "createdAt"})


def make_capped(shop: "MongoDatabase[dict[str, Any]]", name: str) -> None:
    shop.create_collection(name, capped=True, size=10_000)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_view, "a view"),
        (make_time_series, "a time-series collection"),
        (make_capped, "a capped collection"),
    ],
    ids=["view", "time-series", "capped"],
)
@pytest.mark.parametrize(
    ("name", "setting", "remedy"),
    [
        ("customers", "SOURCE_COLLECTION", "name such a one"),
        ("customers_anonymised", "MIRROR_COLLECTION", "drop it, or name another one"),
        ("clientsync_state", "MONGO_DB", "drop it, or name another database"),
    ],
    ids=["source", "mirror", "state"],
)
def test_only_plain_collections_serve(
    connected: CommandLine,
    shop: "MongoDatabase[dict[str, Any]]",
    run: Run,
    name: str,
    setting: str,
    remedy: str,
    make: Callable[["MongoDatabase[dict[str, Any]]", str], None],
    kind: str,
) -> None:
    make(shop, name)
    before = {*shop.list_collection_names()}

    assert_refused(connected, run, f"{setting}: {name} is {kind}, but must be a plain collection; {remedy}")

    assert {*shop.list_collection_names()} - before <= {"customers_anonymised"}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("lease", {"expiresAt": "tomorrow"}),
        ("checkpoint", {"token": {"_data": "82"}, "policy": "x", "term": "one"}),
        ("session", {}),
    ],
    ids=["lease", "checkpoint", "session"],
)
def test_a_damaged_memory_is_told_and_can_be_dropped(
    connected: CommandLine,
    shop: "MongoDatabase[dict[str, Any]]",
    run: Run,
    kind: str,
    damage: dict[str, Any],
) -> None:
    key = {"kind": kind, "source": "customers", "mirror": "customers_anonymised"}
    identity = key | ({"lsid": "mine"} if kind == "session" else {})
    shop.clientsync_state.insert_one({"_id": identity, **damage})

    assert_refused(
        connected,
        run,
        f"MONGO_DB: the {kind} in clientsync_state is damaged; stop all instances and drop clientsync_state, "
        "and the next start looks through the whole source again",
    )

    shop.clientsync_state.drop()
    assert run(connected, "start", "sync", instance="again").healthy()


@pytest.mark.parametrize("start", ["start", "start --full", "start app"])
def test_a_database_in_other_case_is_told(
    connected: CommandLine, shop: "MongoDatabase[dict[str, Any]]", source: Customers, run: Run, start: str
) -> None:
    source.insert_one(customer(1))
    cli = connected.having(MONGO_DB=shop.name.upper())
    name = "full" if "full" in start else "default"

    checked = cli("check")
    daemon = run(cli, *start.split())

    line = (
        "MONGO_DB: the server has a database of this name in other upper and lower case (code 13297); "
        "write it as it is written there"
    )
    assert checked.code == 1
    assert checked.out.splitlines()[-1].endswith(f" {line}")
    assert daemon.wait() == 78
    (given_up,) = [record["message"] for record in daemon.events("giving_up")]
    assert given_up.endswith(f": {line}")
    assert not (cli.state_dir / f"{name}.sock").exists()


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with MongodProcess(tmp_path_factory.mktemp("standalone"), replica_set=None) as server:
        yield server


@pytest.mark.parametrize(
    ("query", "line"),
    [("", NO_SET), ("?directConnection=true", NO_SET), ("?replicaSet=rs", NO_SUCH_SET)],
    ids=["plain", "direct", "named"],
)
def test_a_standalone_server_is_refused(
    command: CommandLine, standalone: MongodProcess, run: Run, query: str, line: str
) -> None:
    cli = command.having(MONGO_URI=f"mongodb://{standalone.address}/{query}")

    assert_refused(cli, run, line)


@pytest.mark.parametrize("part", ["app", "sync"])
def test_another_replica_set_than_the_one_that_is_named_is_refused(
    command: CommandLine, database: Database, run: Run, part: str
) -> None:
    cli = command.having(MONGO_URI=database.uri.replace("replicaSet=rs", "replicaSet=other"))

    assert_refused(cli, run, NO_SUCH_SET, "start", part)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodProcess]:
    with MongodProcess(tmp_path_factory.mktemp("guarded"), user="root", password=SECRET) as server:
        yield server


@pytest.mark.parametrize(
    ("start", "right", "wrong"),
    [
        ("start", f"root:{SECRET}@", f"root:{SECRET}-other@"),
        ("start app", f"root:{SECRET}@", f"root:{SECRET}-other@"),
        ("start --full", f"root:{SECRET}@", f"root:{SECRET}-other@"),
        ("start sync", f"root:{SECRET}@", f"ghost:{SECRET}@"),
        ("start sync", "authSource=admin", "authSource=shop"),
    ],
    ids=["password", "password of app", "password of full", "user", "authSource"],
)
def test_a_refused_login_is_told_without_the_password(
    command: CommandLine, guarded: MongodProcess, run: Run, start: str, right: str, wrong: str
) -> None:
    cli = replace(command.having(MONGO_URI=guarded.uri.replace(right, wrong)), secrets=(SECRET,))

    assert_refused(
        cli,
        run,
        "MONGO_URI: the server refused user or password (code 18); "
        "correct them (and authSource) in MONGO_URI or MONGO_URI_FILE",
        *start.split(),
    )


@pytest.mark.parametrize(
    "options",
    ["w=0", "w=5&readConcernLevel=linearizable&readPreference=secondary&compressors=zstd,snappy"],
    ids=["weak", "unfit"],
)
def test_options_of_the_uri_that_would_harm_the_mirror_do_not(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run, options: str
) -> None:
    cli = connected.having(MONGO_URI=f"{connected.settings['MONGO_URI']}&{options}")
    assert cli("check").code == 0

    daemon = run(cli, "start")
    daemon.healthy()

    eventually(lambda: mirror.count_documents({}) >= 10)
    assert daemon.ask("stop").code == 0
    assert are_twins(source, mirror)
    assert daemon.told() == ""
    assert daemon.events("child_died") == []


def refuse_a_name(mirror: Customers) -> None:
    mirror.database.create_collection(mirror.name, validator={"firstName": {"$ne": hashed("Refused")}})


def allow_all_names(mirror: Customers) -> None:
    mirror.database.command("collMod", mirror.name, validator={})


def refuse_equal_emails(mirror: Customers) -> None:
    mirror.create_index("email", unique=True)


def allow_equal_emails(mirror: Customers) -> None:
    mirror.drop_index("email_1")


@pytest.mark.parametrize(
    ("refuse", "allow", "name", "code"),
    [
        (refuse_a_name, allow_all_names, "Refused", 121),
        (refuse_equal_emails, allow_equal_emails, "John", 11000),
    ],
    ids=["validator", "unique index"],
)
def test_customers_that_the_mirror_refuses_are_counted_and_stop_nobody(
    connected: CommandLine,
    source: Customers,
    mirror: Customers,
    run: Run,
    refuse: Callable[[Customers], None],
    allow: Callable[[Customers], None],
    name: str,
    code: int,
) -> None:
    connected = replace(connected, secrets=("Refused", "refused"))
    refuse(mirror)
    source.insert_many([customer(1), customer(2, name), customer(3, "Jane")])
    assert connected("check").code == 0

    daemon = run(connected, "start", "sync")
    daemon.healthy()
    source.insert_many([customer(4, "Jim"), customer(5, name)])
    source.update_one({"_id": 3}, {"$set": {"email": "jane@example.com"}})

    expected = [image_of(each) for each in source.find({"_id": {"$in": [1, 3, 4]}}, sort=[("_id", 1)])]
    eventually(lambda: list(mirror.find(sort=[("_id", 1)])) == expected)
    eventually(lambda: len(daemon.events("customer_unmirrorable")) == 2)
    assert {record["code"] for record in daemon.events("customer_unmirrorable")} == {code}
    assert [child["restarts"] for child in daemon.healthy()["children"]] == [0, 0, 0]
    verified = daemon.ask("verify")
    assert (verified.code, verified.out) == (
        1,
        "compared=5 missing=0 stale=0 orphaned=0 unmirrorable=2\n",
    )

    allow(mirror)
    assert connected("start", "--full").code == 0

    assert are_twins(source, mirror)
    assert daemon.ask("verify").code == 0
