"""Steps that tests of the embedded mongod share."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient, WriteConcern

from procs import mongod
from procs.errors import PermanentError, TemporaryError
from tests.eventually import eventually
from tests.mongod_process import MongodProcess

Client = MongoClient[dict[str, Any]]


@contextlib.contextmanager
def started(directory: Path) -> Iterator[mongod.Mongod]:
    own = eventually(lambda: mongod.try_start(directory), message="the lock")
    try:
        eventually(own.bring_up, 60, "a writable primary")
        yield own
    finally:
        own.kill()


def insert(directory: Path, *documents: dict[str, Any]) -> None:
    with Client(mongod.prepare(directory), timeoutMS=10_000) as client:
        durable = WriteConcern("majority", j=True)
        client.shop.get_collection("customers", write_concern=durable).insert_many(documents)


def customers(directory: Path) -> list[Any]:
    with Client(mongod.prepare(directory), timeoutMS=10_000) as client:
        return [each["_id"] for each in client.shop.customers.find().sort("_id")]


def make_of_newer_version(directory: Path) -> None:
    """Have the data in `directory` say that a later MongoDB wrote them."""
    with MongodProcess(directory, replica_set=None) as plain:
        with Client(plain.uri, timeoutMS=10_000) as client:
            document = {"_id": "featureCompatibilityVersion", "version": "99.0"}
            client.shop.versions.insert_one(document)
            # mongod refuses to write a version that it does not know, but not to have it moved there.
            for source, target in (
                ("admin.system.version", "admin.former"),
                ("shop.versions", "admin.system.version"),
            ):
                rename = {"op": "c", "ns": "admin.$cmd", "o": {"renameCollection": source, "to": target}}
                client.admin.command("applyOps", [rename])
        plain.stop()


def failure(own: mongod.Mongod | None, timeout_s: float = 30) -> PermanentError | TemporaryError:
    """Return the error with which `own` ends."""
    assert own is not None
    try:
        eventually(lambda: own.bring_up() and False, timeout_s)
    except (PermanentError, TemporaryError) as error:
        assert "\n" not in str(error)
        return error
    finally:
        own.kill()
    raise AssertionError("unreachable")
