"""Reading source and mirror side by side."""

from typing import Any

from pymongo import MongoClient

from procs.config import Database
from procs.pair import Pair
from procs.selection import Range, id_of
from tests.mongo.customers import EVERYTHING, Customers, customer, ids

LARGE = b"x" * 7_000_000


def open_cursors(client: MongoClient[Any], database: Database) -> int:
    idle = [{"$currentOp": {"idleCursors": True}}, {"$match": {"type": "idleCursor"}}]
    ours = {"$match": {"ns": f"{database.name}.{database.source}"}}
    return len(list(client.admin.aggregate([*idle, ours])))


def test_what_does_not_fit_into_one_reply_is_left_for_the_next_one(
    client: MongoClient[Any], database: Database, source: Customers
) -> None:
    for each in range(3):
        source.insert_one({"_id": each, "blob": LARGE})

    with client.start_session(snapshot=True) as session:
        found, mirror, rest = Pair(client, database).read_chunk(EVERYTHING, 1000, session)
        named = Pair(client, database).read_ids(ids(0, 1, 2), session)

        assert [id_of(each) for each in found] == ids(0, 1)
        assert (mirror, rest) == ([], Range(ids(1)[0], None))
        assert named is None
        assert open_cursors(client, database) == 0


def test_all_reads_of_one_session_are_of_one_snapshot(
    client: MongoClient[Any], database: Database, source: Customers, target: Customers
) -> None:
    source.insert_one(customer(1))
    target.insert_one(customer(1))
    pair = Pair(client, database)
    with client.start_session(snapshot=True) as session:
        before = pair.read_chunk(EVERYTHING, 10, session)

        source.insert_one(customer(2))
        target.delete_one({"_id": 1})

        assert pair.read_chunk(EVERYTHING, 10, session) == before
        assert pair.read_ids(ids(1, 2), session) == before[:2]
