"""R1, R2: connections that break, before the server has heard of a command or after it has obeyed."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from pymongo import MongoClient

from tests.faults.conftest import mirrored_on
from tests.faults.effort import IN_FULL
from tests.faults.mirrored import Mirrored
from tests.faults.proxy import Proxy

AGAIN_AND_AGAIN = 50 if IN_FULL else 3

ALWAYS = ("find", "getMore", "insert", "update", "delete", "commitTransaction")
AT_START = ("listCollections", "findAndModify", "aggregate", "killSessions")
# The driver itself tries once more: twice is what the product must bear.
SOME = [
    ("find", "before", 2),
    ("getMore", "after", 2),
    ("update", "after", 2),
    ("commitTransaction", "after", 2),
]
CASES = list(product((*ALWAYS, *AT_START), ("before", "after"), (1, 2, 5))) if IN_FULL else SOME


@pytest.fixture(scope="module")
def proxy(mongod: str) -> Iterator[Proxy]:
    with MongoClient[dict[str, Any]](mongod) as client:
        client.admin.command("ping")
        assert client.address is not None
        address = client.address
    with Proxy((address[0], int(address[1]))) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def mirrored(proxy: Proxy, mongod: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    """A daemon behind the proxy; all others see the server itself."""
    behind = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    with mirrored_on(mongod, tmp_path_factory.mktemp("daemon"), MONGO_URI=behind) as mirrored:
        yield mirrored


@pytest.mark.parametrize(("command", "when", "times"), CASES)
def test_r1_a_command_whose_connection_breaks(
    proxy: Proxy, mirrored: Mirrored, command: str, when: str, times: int
) -> None:
    deaths = mirrored.deaths()
    if command in AT_START:
        deaths = mirrored.begin_anew(lambda: proxy.cut_off(command, when, times))
    else:
        proxy.cut_off(command, when, times)

    mirrored.change_until(lambda: proxy.hits == times)

    mirrored.becomes_right()
    assert mirrored.deaths() == deaths


def test_r1_r2_all_connections_break_again_and_again(proxy: Proxy, mirrored: Mirrored) -> None:
    deaths = mirrored.deaths()
    with mirrored.changing():
        for _ in range(AGAIN_AND_AGAIN):
            proxy.cut_all()
            mirrored.notices()

    mirrored.becomes_right()
    mirrored.stays_right()
    assert mirrored.deaths() == deaths


def test_r1_r2_operations_and_sessions_are_killed_again_and_again(
    client: MongoClient[dict[str, Any]], mirrored: Mirrored
) -> None:
    deaths = mirrored.deaths()
    with mirrored.changing():
        for _ in range(AGAIN_AND_AGAIN):
            kill_operations(client)
            client.admin.command("killAllSessions", [])
            mirrored.notices()

    mirrored.becomes_right()
    mirrored.stays_right()
    assert mirrored.deaths() == deaths


def kill_operations(client: MongoClient[dict[str, Any]]) -> None:
    """End whatever the product has the server do."""
    ours = {"type": "op", "active": True, "appName": {"$regex": "^clientsync"}}
    for found in client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}]):
        client.admin.command("killOp", op=found["opid"])
