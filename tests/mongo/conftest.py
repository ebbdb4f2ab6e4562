"""A place for an embedded mongod; source, mirror and state of a test's own database."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from procs import state
from procs.anonymise import Anonymiser
from procs.config import Database
from procs.mirror import Mirror
from tests.mongo.customers import Customers, Rename, bytes_by_id, images
from tests.mongo.sync_group import POLICY
from tests.mongod_process import mongods_of


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for an embedded mongod; what a failing test leaves running there is killed."""
    directory = tmp_path / "mongodb"
    yield directory
    for pid in mongods_of(directory):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def source(client: MongoClient[Any], database: Database) -> Customers:
    return client[database.name][database.source]


@pytest.fixture
def target(client: MongoClient[Any], database: Database) -> Customers:
    return client[database.name][database.mirror]


@pytest.fixture
def states(client: MongoClient[Any], database: Database) -> Customers:
    return client[database.name][state.NAME]


@pytest.fixture(params=[ObjectId("65f0c0ffee65f0c0ffee65f0"), 1], ids=["ObjectId", "number"])
def one(request: pytest.FixtureRequest) -> Any:
    """The `_id` of a customer: ObjectIds are replaced without reading their images, others are not."""
    return request.param


@pytest.fixture
def rename(source: Customers, one: Any) -> Rename:
    """Give `one` another name."""
    return lambda name: source.update_one({"_id": one}, {"$set": {"firstName": name}})


@pytest.fixture
def anonymise() -> Anonymiser:
    return Anonymiser(POLICY)


@pytest.fixture
def converged(source: Customers, target: Customers, anonymise: Anonymiser) -> Callable[[], bool]:
    """Tell whether the mirror is what it must be, byte for byte."""
    return lambda: bytes_by_id(target) == images(source, anonymise)


@pytest.fixture
def mirror(client: MongoClient[Any], database: Database, anonymise: Anonymiser) -> Iterator[Mirror]:
    opened = Mirror(client, database, anonymise, keep=True)
    opened.prepare()
    yield opened
    opened.close()
