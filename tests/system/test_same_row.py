"""What a seed promises holds whatever the server answers: each customer of its row once, none left out."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from procs.customers import Customers as FakeCustomers
from tests.eventually import eventually
from tests.faults.server_errors import Case, Command, Failing, Fault
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]

SEED = 7

FAULTS = (
    Fault("a new primary, after the effect", {"writeConcernError": {"code": 11602, "errmsg": ""}}),
    Fault("no primary", {"errorCode": 10107}),
    Fault("connection lost", {"closeConnection": True}),
)


@pytest.fixture
def server(client: MongoClient[dict[str, Any]]) -> Iterator[Failing]:
    failing = Failing(client)
    yield failing
    failing.stop()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_insert_that_fails_is_repeated_with_the_same_customers(
    connected: CommandLine, source: Customers, run: Run, server: Failing, fault: Fault
) -> None:
    seeded = connected.having(
        FAKER_SEED=str(SEED), FAKER_FILLING_DELAY_MS="0", FAKER_BATCH_MIN="1", FAKER_BATCH_MAX="2000"
    )
    server.answer(Case(Command("generator", "insert"), fault, times=3))

    daemon = run(seeded, "start", "app")
    eventually(lambda: server.hits() == 3 and source.count_documents({}) > 5_000, 30)
    restarts = daemon.child("generator")["restarts"]
    assert daemon.ask("stop").code == 0

    found = list(source.find({}, {"_id": 0, "createdAt": 0}, sort=[("_id", 1)]))
    row = FakeCustomers("en_US", SEED).batch(len(found))
    assert found == [{name: value for name, value in each.items() if name != "createdAt"} for each in row]
    assert restarts == 0
