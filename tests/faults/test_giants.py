"""R1: customers as large as MongoDB takes them, and those that outgrow that once they are hashed."""

from collections.abc import Callable
from typing import Any

from bson import ObjectId, encode

from procs.anonymise import Anonymiser
from supervisor.settings import load
from tests.eventually import eventually
from tests.faults.effort import IN_FULL
from tests.mongo.customers import Customers, bytes_by_id, ids, images
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer, image_of

Run = Callable[..., DaemonProcess]

MAX = 16 * 1024 * 1024
NINE = 9_000_000
GIANTS = 12 if IN_FULL else 2
TEXTS = 230_000
"""So many empty texts take 3 MB; hashed to 64 characters they are over 16 MB."""
NAME = "Johannes"
"""As long as its hash: what is at the limit stays at the limit."""


def giant(id_: Any, size: int, name: str = NAME) -> Customer:
    """Return a customer of exactly `size` bytes."""
    small: Customer = {"_id": id_, "mark": ObjectId(), "firstName": name, "blob": b""}
    return small | {"blob": b"x" * (size - len(encode(small)))}


def changed(**fields: Any) -> dict[str, Customer]:
    """Return an update; each change has another mark."""
    return {"$set": {"mark": ObjectId(), **fields}}


def are_twins(source: Customers, mirror: Customers) -> bool:
    """Compare the marks first, then everything, one by one: together they are hundreds of megabytes."""
    marks = [list(each.find({}, {"mark": 1}, sort=[("_id", 1)])) for each in (source, mirror)]
    return marks[0] == marks[1] and all(
        image_of(source.find_one({"_id": each["_id"]}) or {}) == mirror.find_one({"_id": each["_id"]})
        for each in marks[0]
    )


def test_r1_customers_of_16_mb_and_changes_whose_event_would_not_fit_are_mirrored_among_small_ones(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(-1), giant(0, MAX), giant(1, NINE)])
    daemon = run(connected, "start", "sync")
    eventually(lambda: are_twins(source, mirror), 30)

    for each in range(2, 2 + GIANTS):
        source.insert_one(giant(each, MAX))
    source.insert_many([giant("almost", MAX - 1), giant("no room", MAX - 100), customer("small")])
    source.update_one({"_id": 1}, changed(blob=b"y" * NINE))
    eventually(lambda: are_twins(source, mirror), 60)
    source.update_one({"_id": 0}, changed(firstName="Wolfgang"))
    source.replace_one({"_id": 1}, giant(1, NINE))
    source.replace_one({"_id": 2}, giant(2, MAX))
    source.update_one({"_id": 3}, {"$set": {"firstName": "Wolfgang"}})
    source.update_one({"_id": 3}, {"$set": {"firstName": NAME}})  # shows no difference: it is touched
    source.delete_one({"_id": "almost"})
    source.replace_one({"_id": "no room"}, customer("no room"))
    source.update_one({"_id": "small"}, changed(firstName="Jane"))

    eventually(lambda: are_twins(source, mirror), 60)
    status = daemon.healthy()
    assert {child["restarts"] for child in status["children"]} == {0}
    assert status["sync"]["unmirrorable"] == 0
    assert daemon.events("history_lost") == []


def test_r1_customers_that_outgrow_16_mb_when_hashed_are_counted_and_hold_nobody_up(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    long_hashes = connected.having(ANON_LENGTH="64")
    anonymise = Anonymiser(load(None, long_hashes.settings, instance="oracle").sync.policy)

    def are_right_but(*left_out: Any) -> bool:
        wanted = images(source, anonymise)
        return bytes_by_id(mirror) == {id_: wanted[id_] for id_ in wanted if id_ not in ids(*left_out)}

    source.insert_many([customer(each) for each in range(20)])
    daemon = run(long_hashes, "start", "sync")
    eventually(lambda: mirror.count_documents({}) == 20)

    source.insert_many([customer("before"), {"_id": "texts", "firstName": [""] * TEXTS}, customer("after")])
    source.replace_one({"_id": 5}, giant(5, MAX))
    source.update_many({"_id": {"$in": [4, 6]}}, {"$set": {"firstName": "Jane"}})

    eventually(lambda: daemon.status()["sync"].get("unmirrorable") == 2, 60)
    eventually(lambda: are_right_but(5, "texts"))
    verdict = long_hashes("verify")
    assert verdict.code == 1
    assert verdict.out.split()[1:] == ["missing=0", "stale=0", "orphaned=0", "unmirrorable=2"]

    fitting = {"$set": {"firstName": "J"}, "$unset": {"blob": 1}}
    source.update_many({"_id": {"$in": [5, "texts"]}}, fitting)

    eventually(are_right_but, 30)
    assert long_hashes("verify").code == 0
    assert {child["restarts"] for child in daemon.status()["children"]} == {0}
