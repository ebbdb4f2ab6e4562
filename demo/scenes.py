"""What happens in the demo: each scene does something to customers or processes, and tells the outcome."""

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from pymongo import DeleteOne, MongoClient, UpdateOne

from demo.daemon import Daemon

Customer = dict[str, Any]
Say = Callable[[str], None]

VICTIMS = ("writer", "listener", "generator", "scanner", "server")
FOLLOWS_S = 30.0
"""After a kill of MongoDB all waits for it to start again."""
WIDTHS = (26, 40, 0)
TOWNS = ("Paris", "Lisbon", "Oslo", "Vienna", "Prague", "Dublin")


class Scenes:
    """Plays on `daemon`, and tells it to `say`, a line at a time."""

    def __init__(self, daemon: Daemon, client: "MongoClient[Customer]", say: Say) -> None:
        database = client["clientsync"]
        self._daemon, self._say = daemon, say
        self._source, self._mirror = database["customers"], database["customers_anonymised"]
        self._victims, self._towns = cycle(VICTIMS), cycle(TOWNS)
        self.kills = 0

    def __iter__(self) -> Iterator[Callable[[], None]]:
        """Give one scene after the other, for ever."""
        return cycle((self.count, self.compare, self.strike, self.count, self.move, self.count, self.remove))

    def count(self) -> None:
        """Tell how many customers there are, and how many images."""
        customers, images = (each.estimated_document_count() for each in (self._source, self._mirror))
        lag_s = self._daemon.status().get("sync", {}).get("lag_s")
        behind = "" if lag_s is None else f", {lag_s:.1f} s behind"
        self._say(f"{customers:,} customers, {images:,} in the mirror{behind}")

    def compare(self) -> None:
        """Show the newest customer that is mirrored beside its image."""
        image = self._daemon.wait_for(
            lambda: self._mirror.find_one(sort=[("_id", -1)]), FOLLOWS_S, "the mirror stays empty"
        )
        customer = self._source.find_one({"_id": image["_id"]})
        if customer:
            self._say(f"customer  {in_short(customer)}")
            self._say(f"   image  {in_short(image)}")

    def strike(self) -> None:
        """Kill a child; its supervisor has another one."""
        child = next(self._victims)
        name = "MongoDB, the server itself" if child == "server" else f"the {child}"
        self._say(f"kill -9: {name}")
        back_s = self._daemon.kill(child)
        self.kills += 1
        self._say(f"   another {child} is at work {back_s:.2f} s later")

    def move(self) -> None:
        """Change some customers, and wait for their images."""
        town = f"{next(self._towns)} ({self.kills})"
        ids = self._some(200)
        began = time.monotonic()
        self._source.bulk_write([UpdateOne({"_id": id_}, {"$set": {"address.city": town}}) for id_ in ids])
        wanted = {"_id": {"$in": ids}, "address.city": town}
        self._follow(lambda: self._mirror.count_documents(wanted) == len(ids))
        told = f"{len(ids)} customers moved to {town.split()[0]}"
        self._say(f"{told}; the mirror knew after {time.monotonic() - began:.2f} s")

    def remove(self) -> None:
        """Delete some customers, and wait until their images are gone."""
        ids = self._some(50)
        began = time.monotonic()
        self._source.bulk_write([DeleteOne({"_id": id_}) for id_ in ids])
        self._follow(lambda: self._mirror.count_documents({"_id": {"$in": ids}}) == 0)
        self._say(f"{len(ids)} customers left; forgotten after {time.monotonic() - began:.2f} s")

    def _some(self, n: int) -> list[Any]:
        sample = self._source.aggregate([{"$sample": {"size": n}}, {"$project": {"_id": 1}}])
        return list({each["_id"] for each in sample})  # a sample may name one twice

    def _follow(self, condition: Callable[[], bool]) -> None:
        self._daemon.wait_for(condition, FOLLOWS_S, "the mirror does not follow")


def in_short(customer: Customer) -> str:
    """Return name, e-mail and address in one line."""
    address = customer["address"]
    parts = (
        f"{customer['firstName']} {customer['lastName']}",
        customer["email"],
        f"{address['line1']}, {address['postcode']} {address['city'].split(' (')[0]}",
    )
    return " ".join(f"{part:{width}}" for part, width in zip(parts, WIDTHS, strict=True))
