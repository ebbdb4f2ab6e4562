"""An application that inserts, changes and deletes at a steady rate; the source stays bounded."""

import contextlib
import random
import threading
from typing import Any, Self

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from procs.config import Database
from tests.system.twins import Customer, customer

EVERY_S = 0.1
SIZE = 2_000
HOT = 10
AT_ONCE = 5


class Load:
    """Each tenth of a second AT_ONCE inserts, updates and deletes, and a hot customer changed or gone."""

    def __init__(self, database: Database, seed: int) -> None:
        self.rounds = 0
        self._database, self._dice = database, random.Random(seed)
        self._next = 0
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
        with MongoClient[Customer](self._database.uri, timeoutMS=10_000) as client:
            customers = client[self._database.name][self._database.source]
            self._insert(customers, SIZE)
            while not self._stopping.wait(EVERY_S):
                with contextlib.suppress(PyMongoError):
                    self._insert(customers, AT_ONCE)
                    self._change(customers)
                    self._bound(customers)
                    self.rounds += 1

    def _insert(self, customers: "Collection[Customer]", count: int) -> None:
        customers.insert_many([customer(self._next + each, self._name()) for each in range(count)])
        self._next += count

    def _change(self, customers: "Collection[Customer]") -> None:
        for _ in range(AT_ONCE):
            id_ = self._dice.randrange(max(0, self._next - SIZE), self._next)
            customers.update_one({"_id": id_}, {"$set": {"lastName": self._name()}})
        hot: dict[str, Any] = {"_id": f"hot-{self._dice.randrange(HOT)}"}
        if self._dice.random() < 0.2:
            customers.delete_one(hot)
        else:
            customers.replace_one(hot, customer(hot["_id"], self._name()), upsert=True)

    def _bound(self, customers: "Collection[Customer]") -> None:
        surplus = customers.estimated_document_count() - SIZE
        if surplus > 0:
            oldest = customers.find({}, {"_id": 1}, sort=[("$natural", 1)], limit=surplus)
            customers.delete_many({"_id": {"$in": [each["_id"] for each in oldest]}})

    def _name(self) -> str:
        return f"N{self._dice.randrange(10**6)}"
