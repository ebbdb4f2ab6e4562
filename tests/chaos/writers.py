"""Applications that use the source, with clocks that differ by hours, hot customers and odd `_id`s."""

import contextlib
import random
import threading
import time
from datetime import UTC, datetime
from typing import Any, Self

from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

Customer = dict[str, Any]

HOT = tuple(f"hot-{number}" for number in range(12))
ODD: tuple[Any, ...] = (
    *(None, True, False, MinKey(), MaxKey(), "", b"raw", Binary(b"x", 4), Regex("^a"), Timestamp(1, 1)),
    *(1, 2.0, Int64(3), Decimal128("4"), float("nan"), -0.0, {"a": 1}, {"a": 1.5, "b": None}),
    datetime(2000, 1, 1, tzinfo=UTC),
)
NAMES = ("John", "Jürgen", "", "O'Neil", "李", "x" * 300)


class Writer:
    """One application in a thread: inserts, updates, replaces, deletes and re-inserts until it is stopped."""

    def __init__(self, uri: str, database: str, source: str, seed: int, clock_skew_s: int) -> None:
        self.done = 0
        self._dice = random.Random(seed)
        self._skew_s = clock_skew_s
        self._uri, self._place = uri, (database, source)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        database, source = self._place
        with MongoClient[Customer](self._uri, timeoutMS=5_000) as client:
            customers = client[database][source]
            while not self._stopping.wait(self._dice.choice((0, 0, 0, 0.01))):
                with contextlib.suppress(PyMongoError):  # a conflict, a duplicate: as applications have them
                    self._act(client, customers)
                    self.done += 1

    def _act(self, client: MongoClient[Customer], customers: "Collection[Customer]") -> None:
        dice, id_ = self._dice, self._any_id()
        match dice.randrange(9):
            case 0 | 1:
                customers.insert_many([self._customer(self._new_id()) for _ in range(dice.randrange(1, 30))])
            case 2:
                customers.insert_one(self._customer(id_))
            case 3 | 4:
                customers.update_one({"_id": id_}, {"$set": {"lastName": dice.choice(NAMES)}})
            case 5:
                customers.replace_one({"_id": id_}, self._customer(id_), upsert=True)
            case 6:
                customers.delete_one({"_id": id_})
            case 7:
                self._delete_and_insert_again(customers, id_)
            case 8:
                self._in_one_transaction(client, customers)

    def _delete_and_insert_again(self, customers: "Collection[Customer]", id_: Any) -> None:
        before = customers.find_one_and_delete({"_id": id_})
        customers.insert_one(before or self._customer(id_))

    def _in_one_transaction(self, client: MongoClient[Customer], customers: "Collection[Customer]") -> None:
        """Its events carry the time of the commit, though its `_id`s are older."""
        new = [self._customer(self._new_id()) for _ in range(20)]
        with client.start_session() as session, session.start_transaction():
            customers.insert_many(new, session=session)
            time.sleep(self._dice.random() / 10)
            customers.update_many(
                {"_id": {"$in": [each["_id"] for each in new[:10]]}}, {"$set": {"n": 1}}, session=session
            )

    def _customer(self, id_: Any) -> Customer:
        name = self._dice.choice(NAMES)
        return {
            "_id": id_,
            "firstName": name,
            "lastName": self._dice.choice(NAMES),
            "email": f"{name}@{name}@example.com",
            "address": {"line1": name, "city": "Paris"},
            "n": self._dice.random(),
        }

    def _any_id(self) -> Any:
        return self._dice.choice((self._dice.choice(HOT), self._dice.choice(HOT), self._dice.choice(ODD)))

    def _new_id(self) -> ObjectId:
        """Return what a driver on a machine with a wrong clock makes."""
        seconds = int(time.time()) + self._skew_s
        return ObjectId(seconds.to_bytes(4, "big") + self._dice.randbytes(8))
