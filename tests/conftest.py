"""What all tests share: one real mongod, and a database of one's own on it."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.mongod_process import MongodProcess

# What runs in the background of a shell has it ignored and hands that down; a terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mongod() -> Iterator[str]:
    """The URI of a replica set of one, without authentication, with failpoints enabled."""
    with (
        tempfile.TemporaryDirectory(prefix="clientsync-tests-") as directory,
        MongodProcess(Path(directory)) as process,
    ):
        yield process.uri


@pytest.fixture
def client(mongod: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongod, timeoutMS=30_000) as connected:
        yield connected


@pytest.fixture
def database(mongod: str, client: MongoClient[dict[str, Any]]) -> Iterator[Database]:
    """A database that no other test uses; dropped afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    yield Database(uri=mongod, name=name, source="customers", mirror="customers_anonymised")
    # A killed process leaves its transaction open: for a minute it would keep the drop waiting.
    client.admin.command("killAllSessions", [])
    client.drop_database(name)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually
