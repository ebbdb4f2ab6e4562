"""R3: a stored position that leads nowhere is recognised, told once, and repaired by a reindex."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from procs.changestream import ChangeStream, HistoryLost
from procs.checkpoint import Position
from procs.config import Database
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer
from tests.mongo.sync_group import SyncGroup, sync_config

Converged = Callable[[], bool]
Damage = Callable[[str], Any]

SECONDS = slice(2, 10)
"""Where a token (hexadecimal) holds the seconds of its cluster time."""

OF_ANOTHER_CLUSTER = (
    "826B057B4B000000142B022C0100296E5A100442010394E9AC49E69FA003B5E5B48CE3461E5F6964002B040004"
)


def token_of_an_event(collection: Customers) -> str:
    with collection.watch() as watch:
        collection.insert_one({})
        return str(watch.next()["_id"]["_data"])


def stored_token(states: Customers) -> str:
    found = states.find_one({"_id.kind": "checkpoint"})
    assert found
    return str(found["token"]["_data"])


def an_hour_later(token: str) -> dict[str, Any]:
    seconds = int(token[SECONDS], 16) + 3600
    return {"_data": f"{token[: SECONDS.start]}{seconds:08X}{token[SECONDS.stop :]}"}


def damaged(token: str, dice: random.Random) -> str:
    """Return random bytes, or a token with a few of its bytes wrong or missing."""
    data = bytearray.fromhex(token)
    match dice.randrange(4):
        case 0:
            data = bytearray(dice.randbytes(dice.randrange(1, 60)))
        case 1:
            data = data[:1] + dice.randbytes(dice.randrange(60))
        case 2:
            del data[dice.randrange(1, len(data)) :]
        case 3:
            for _ in range(dice.randrange(1, 5)):
                data[dice.randrange(len(data))] = dice.randrange(256)
    return data.hex().upper()


def test_r3_whatever_is_wrong_with_a_token_is_lost_history_and_no_other_error(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    token = token_of_an_event(source)
    dice = random.Random(5)
    lost = set()

    for _ in range(1000):
        try:
            stream = ChangeStream(client, database, Position({"_data": damaged(token, dice)}))
            stream.next_batch(await_ms=1)
            stream.close()
        except HistoryLost as error:
            lost.add(error.code)

    assert {15, 280, 50811, None} < lost


@pytest.mark.parametrize(
    "damage",
    [
        lambda token: {"_data": token[:40]},
        lambda _: {"_data": ""},
        lambda _: {"_data": 5},
        lambda _: {"_data": None},
        lambda token: {"_data": bytes.fromhex(token)},
        lambda token: {"_data": token, "_typeBits": "wrong"},
        lambda _: {"_data": OF_ANOTHER_CLUSTER},
        lambda token: {"_data": token[: SECONDS.start] + "FFFFFFFF" + token[SECONDS.stop :]},
        an_hour_later,
    ],
    ids=[
        *("truncated", "empty", "number", "null", "bytes", "bits", "other cluster", "end of time"),
        "future",
    ],
)
def test_r3_a_token_that_leads_nowhere_is_lost_history(
    client: MongoClient[Any], database: Database, source: Customers, damage: Damage
) -> None:
    token = damage(token_of_an_event(source))

    with pytest.raises(HistoryLost):
        ChangeStream(client, database, Position(token)).next_batch()


@pytest.mark.parametrize(
    "damage",
    [lambda token: {"_data": token[:12]}, lambda token: token, lambda _: None],
    ids=["truncated", "text", "null"],
)
def test_r3_a_position_that_leads_nowhere_is_told_once_and_repaired(
    database: Database,
    source: Customers,
    states: Customers,
    converged: Converged,
    caplog: pytest.LogCaptureFixture,
    damage: Damage,
) -> None:
    source.insert_many([customer(each) for each in range(5)])
    with SyncGroup(sync_config(database)):
        eventually(converged)
    bad = damage(stored_token(states))
    states.update_one({"_id.kind": "checkpoint"}, {"$set": {"token": bad}})
    source.update_one({"_id": 1}, {"$set": {"firstName": "Jane"}})
    source.delete_one({"_id": 2})

    for _ in range(2):
        with SyncGroup(sync_config(database)):
            eventually(converged)
            source.insert_one(customer("new"))
            eventually(converged)
            source.delete_one({"_id": "new"})

    told = [each.getMessage() for each in caplog.records if "history" in each.getMessage()]
    assert len(told) == 1, told
    assert converged()


def test_r3_the_position_of_another_collection_is_told_once_and_repaired(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    states: Customers,
    converged: Converged,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source.insert_one(customer(1))
    with SyncGroup(sync_config(database)):
        eventually(converged)
    other = token_of_an_event(client[database.name]["other"])
    states.update_one({"_id.kind": "checkpoint"}, {"$set": {"token._data": other}})
    source.insert_one(customer(2))

    for _ in range(2):
        with SyncGroup(sync_config(database)):
            eventually(converged)

    assert caplog.text.count("history") == 1
