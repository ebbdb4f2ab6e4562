"""The fixtures of the other tests, for faults of the server; and a replica set of three."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient

from procs.config import Database
from tests.faults.mirrored import Mirrored
from tests.mongo.conftest import anonymise as anonymise
from tests.mongo.conftest import converged as converged
from tests.mongo.conftest import states as states
from tests.mongo.conftest import target as target
from tests.replica_set import ReplicaSet
from tests.system.command_line import CommandLine
from tests.system.conftest import command as command
from tests.system.conftest import connected as connected
from tests.system.conftest import mirror as mirror
from tests.system.conftest import run as run
from tests.system.conftest import source as source


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with ReplicaSet(tmp_path_factory.mktemp("three")) as replica_set:
        yield replica_set


@pytest.fixture
def replica_set(three: ReplicaSet) -> Iterator[ReplicaSet]:
    """The set of three; whole again after each test."""
    yield three
    three.revive()


@contextlib.contextmanager
def mirrored_on(uri: str, directory: Path, **settings: str) -> Iterator[Mirrored]:
    """A daemon at work in `directory` with these `settings`, on a database of its own."""
    database = Database(uri, f"test_{uuid4().hex[:12]}", "customers", "customers_anonymised")
    with MongoClient[dict[str, Any]](uri, timeoutMS=30_000, w="majority") as client:
        mirrored = Mirrored(client, database, CommandLine(directory, settings))
        try:
            mirrored.daemon.healthy()
            yield mirrored
        finally:
            mirrored.daemon.end()


@pytest.fixture
def mirrored(replica_set: ReplicaSet, tmp_path: Path) -> Iterator[Mirrored]:
    """A daemon on the set of three; its URI, and the application's, asks for writes that may be lost."""
    with mirrored_on(f"{replica_set.uri}&w=1", tmp_path) as mirrored:
        yield mirrored
