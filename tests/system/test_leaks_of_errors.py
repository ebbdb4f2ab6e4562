"""R6: no customer in what a server quotes when it refuses, nor in what a failed child leaves (canaries)."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from procs.config import Database
from procs.customers import Customers as FakeCustomers
from tests.eventually import eventually
from tests.system.canaries import Aviary, Places
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, hashed

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]

SEED = 7


@pytest.fixture
def aviary() -> Aviary:
    return Aviary()


@pytest.fixture
def loud(connected: CommandLine) -> CommandLine:
    """Everything is logged."""
    return connected.having(LOG_LEVEL="DEBUG", SYNC_FLUSH_MS="50")


def simple(aviary: Aviary, **more: Any) -> Customer:
    return {
        "_id": aviary.carried.word("_id"),
        "firstName": aviary.sensitive.word("firstName"),
        "lastName": aviary.sensitive.word("lastName"),
        "email": f"{aviary.sensitive.word('email')}@example.com",
        "city": aviary.carried.word("city"),
        **more,
    }


def whole_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def failing(client: MongoClient[dict[str, Any]], role: str, **how: Any) -> Iterator[None]:
    """Have the server fail the next command of one child."""
    data = {"appName": f"clientsync {role}", **how}
    client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=data)
    try:
        yield
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


def assert_nothing_got_out(aviary: Aviary, places: Places) -> None:
    assert aviary.sensitive.found_in(places.shown() | places.state() | places.mirror()) == []
    assert aviary.carried.found_in(places.shown()) == []


def test_r6_no_canary_gets_out_of_what_the_server_refuses(
    loud: CommandLine,
    database: Database,
    client: MongoClient[dict[str, Any]],
    source: Customers,
    mirror: Customers,
    aviary: Aviary,
    run: Run,
) -> None:
    # Long hashes make a customer outgrow 16 MB sooner.
    loud = loud.having(ANON_LENGTH="64")
    places = Places(loud, database)
    mirror.create_index("lastName", unique=True)
    validator = {"firstName": {"$ne": whole_hash("refused")}}
    client[database.name].command("collMod", mirror.name, validator=validator)
    source.insert_one(simple(aviary))
    twins = [simple(aviary, lastName="Doe") for _ in range(2)]
    refused = simple(aviary, firstName="refused")
    outgrown = simple(aviary, email=[aviary.sensitive.word("giant"), *[""] * 240_000])
    daemon = run(loud, "start", "sync")
    daemon.healthy()

    # A transaction that holds a customer's image: who mirrors it meets a write conflict.
    contested = simple(aviary)
    with client.start_session() as session, session.start_transaction():
        mirror.insert_one({"_id": contested["_id"], "lastName": "held"}, session=session)
        source.insert_one(contested)
        source.insert_many([*twins, refused, outgrown])
        eventually(lambda: (daemon.status()["sync"]["pending"] or 0) > 0)
        session.abort_transaction()
    eventually(lambda: len(daemon.events("customer_unmirrorable")) == 3, 30)
    eventually(lambda: mirror.count_documents({}) == 3)
    verdict = places.ask("verify", "--json")
    places.ask("status")
    places.ask("stop")

    assert '"unmirrorable": 3' in verdict.out
    assert {each["code"] for each in daemon.events("customer_unmirrorable")} == {11000, 121, 10334}
    assert_nothing_got_out(aviary, places)
    # The server did quote what it refused: the first such error is the same as the daemon met.
    with pytest.raises(DuplicateKeyError, match=whole_hash("Doe")):
        mirror.insert_one({"lastName": whole_hash("Doe")})
    with pytest.raises(WriteError, match=whole_hash("refused")):
        mirror.insert_one({"firstName": whole_hash("refused")})


def test_r6_no_canary_gets_out_of_children_that_fail_hang_and_crash(
    loud: CommandLine,
    database: Database,
    client: MongoClient[dict[str, Any]],
    source: Customers,
    mirror: Customers,
    aviary: Aviary,
    run: Run,
) -> None:
    places = Places(loud, database)
    customers = [simple(aviary) for _ in range(20)]
    source.insert_many(customers)
    daemon = run(loud.having(HANG_TIMEOUT_MS="2000"), "start", "sync")
    daemon.healthy()

    def die(child: str, change: str, by: Callable[[int], object]) -> None:
        pid = daemon.pids()[child]
        source.update_many({}, {"$set": {"lastName": aviary.sensitive.word(change)}})
        by(pid)
        daemon.replaced(child, pid)

    with failing(client, "writer", failCommands=["find", "aggregate", "update"], errorCode=8):
        source.update_many({}, {"$set": {"lastName": aviary.sensitive.word("unknown error")}})
        eventually(lambda: [each for each in daemon.events("child_died") if "(8)" in each["message"]])
    with failing(client, "writer", failCommands=["find"], blockConnection=True, blockTimeMS=3_000):
        source.update_many({}, {"$set": {"lastName": aviary.sensitive.word("hang")}})
        daemon.wait_for("child_hangs")
    daemon.healthy()
    die("writer", "killed", lambda pid: os.kill(pid, signal.SIGKILL))
    die("writer", "segmentation fault", lambda pid: os.kill(pid, signal.SIGSEGV))
    last = aviary.sensitive.word("asked for its stacks")
    source.update_many({}, {"$set": {"lastName": last}})
    os.kill(daemon.pids()["writer"], signal.SIGQUIT)
    eventually(lambda: mirror.count_documents({"lastName": hashed(last)}) == len(customers), 30)
    places.ask("status")
    places.ask("verify")
    places.keep(daemon)
    places.ask("stop")

    shown = places.shown()
    assert b"SIGSEGV" in shown["state/default.deaths.jsonl"]
    assert b"OperationFailure (8)" in shown["state/default.deaths.jsonl"]
    stacks = shown["state/default.writer.stacks"]
    assert stacks.count(b"most recent call first") >= 3
    assert b"silent for" in stacks
    assert_nothing_got_out(aviary, places)


def with_validator(source: Customers) -> None:
    source.database.create_collection(source.name, validator={"n": 1})


def with_geo_index(source: Customers) -> None:
    source.create_index([("email", "2dsphere")])


@pytest.mark.parametrize(
    ("refusing", "told"),
    [(with_validator, "(code 121)"), (with_geo_index, "BulkWriteError (16755)")],
)
def test_r6_no_fake_customer_gets_out_of_a_source_that_refuses_it(
    loud: CommandLine,
    database: Database,
    source: Customers,
    run: Run,
    refusing: Callable[[Customers], None],
    told: str,
) -> None:
    # The same seed makes the same customers: these are the ones that the daemon is going to insert.
    fakes = FakeCustomers("en_US", SEED).batch(40)
    aviary = Aviary()
    for fake in fakes:
        aviary.sensitive.add("e-mail", fake["email"])
    refusing(source)
    places = Places(loud, database)

    batches = {"FAKER_SEED": str(SEED), "FAKER_BATCH_MIN": "40", "FAKER_BATCH_MAX": "40"}
    daemon = run(loud.having(**batches), "start", "app")
    eventually(lambda: [each for each in daemon.events("child_died") if told in each["message"]])
    places.ask("status")
    places.ask("stop")

    with pytest.raises(BulkWriteError) as quoted:
        source.insert_many(fakes, ordered=False)
    assert aviary.sensitive.found_in({"error": str(quoted.value).encode()})
    assert aviary.sensitive.found_in(places.shown()) == []
