"""R1, R2: the mirror on three mongods that are killed, cut off, stepped down, restarted and rolled back."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.mirror import Mirror
from tests.chaos.writers import Writer
from tests.eventually import eventually
from tests.faults.effort import IN_FULL
from tests.faults.mirrored import OLD, Mirrored
from tests.mongo.customers import EVERYTHING, Customers, bytes_by_id, customer, images
from tests.mongo.sync_group import POLICY
from tests.mongod_process import MongodProcess
from tests.replica_set import ReplicaSet, direct
from tests.system.twins import hashed

IMPATIENT_MS = 1000

Fault = Callable[[ReplicaSet, Mirrored, Writer], None]


def killed(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """The primary is killed, and comes back later."""
    primary = replica_set.primary()
    primary.kill()
    mirrored.goes_on(application)
    primary.start()


def stepped_down(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """The primary hands over."""
    before = replica_set.primary()
    replica_set.step_down()
    replica_set.another_primary(before)


def woken(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """The primary is cut off until another one is elected, and wakes up with what nobody else has."""
    before = replica_set.primary()
    replica_set.freeze(before)
    replica_set.another_primary(before)
    replica_set.thaw(before)


def cut_off(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """The primary is cut off, and stays so while the mirror goes on with the next one."""
    before = replica_set.primary()
    replica_set.freeze(before)
    mirrored.goes_on(application)
    replica_set.thaw(before)


def alone(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """The primary loses sight of both others, and steps down; none takes writes until they are back."""
    secondaries = replica_set.secondaries()
    for each in secondaries:
        replica_set.freeze(each)
    eventually(lambda: not replica_set.has_primary(), 30, "no primary")
    for each in secondaries:
        replica_set.thaw(each)


def restarted(replica_set: ReplicaSet, mirrored: Mirrored, application: Writer) -> None:
    """All members are killed and started again."""
    replica_set.restart_all()


EACH: tuple[Fault, ...] = (killed, stepped_down, woken, cut_off, alone, restarted)
ALONE = [pytest.param((fault,), id=fault.__name__) for fault in EACH]
IN_TURN = pytest.param(EACH if IN_FULL else EACH[:2], id="one after the other")


@pytest.mark.parametrize("faults", [IN_TURN, *(ALONE if IN_FULL else [])])
def test_r1_r2_the_mirror_goes_on_whatever_happens_to_the_primary(
    replica_set: ReplicaSet, mirrored: Mirrored, faults: tuple[Fault, ...]
) -> None:
    with mirrored.changing() as application:
        for fault in faults:
            fault(replica_set, mirrored, application)
            mirrored.goes_on(application)

    mirrored.becomes_right()
    mirrored.stays_right()
    assert mirrored.deaths() == []


@pytest.fixture
def database(replica_set: ReplicaSet) -> Database:
    name = f"test_{uuid4().hex[:12]}"
    return Database(replica_set.uri, name, "customers", "customers_anonymised", IMPATIENT_MS)


@pytest.fixture
def client(replica_set: ReplicaSet) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](replica_set.uri, timeoutMS=30_000, w="majority") as client:
        yield client


def rename(source: Customers, name: str) -> None:
    source.update_one({"_id": OLD[0]}, {"$set": {"firstName": name}})


def rename_here_alone(replica_set: ReplicaSet, source: Customers, name: str) -> None:
    """From now on the primary writes for itself alone, as this."""
    replica_set.stop_replication()
    rename(source.with_options(write_concern=WriteConcern(1)), name)


def roll_back(replica_set: ReplicaSet) -> None:
    """Cut the primary off, elect another one, and have the old one follow it."""
    before, followers = replica_set.primary(), replica_set.secondaries()
    earlier = taken_back(before)
    replica_set.freeze(before)
    replica_set.resume_replication(*followers)
    replica_set.another_primary(before)
    replica_set.thaw(before)
    eventually(lambda: taken_back(before) > earlier, 30, "a rollback")


def taken_back(member: MongodProcess) -> set[Path]:
    """Return the files into which a member has written what it took back."""
    return set((member.directory / "data" / "rollback").glob("*/*"))


def test_r1_an_image_is_rolled_back_with_the_change_that_it_shows(
    replica_set: ReplicaSet, mirrored: Mirrored
) -> None:
    """The writer reads what only the old primary has, and waits for its commit when that is cut off."""
    mirrored.becomes_right()
    with mirrored.stopped("writer"):
        rename(mirrored.source, "Kept")
        rename_here_alone(replica_set, mirrored.source, "Lost")
    with direct(replica_set.primary()) as primary:
        mirror = primary[mirrored.mirror.database.name][mirrored.mirror.name]
        eventually(lambda: mirror.find_one({"firstName": hashed("Lost")}), message="a copy under way")

    roll_back(replica_set)

    mirrored.becomes_right()
    mirrored.stays_right()
    assert mirrored.mirror.find_one({"firstName": hashed("Kept")})
    assert mirrored.deaths() == []


def test_r1_no_scan_passes_a_chunk_that_only_seems_to_be_equal(
    replica_set: ReplicaSet, client: MongoClient[dict[str, Any]], database: Database
) -> None:
    """It writes nothing, and yet must wait: what it has read may be rolled back, and no event tells."""
    source, target = client[database.name][database.source], client[database.name][database.mirror]
    source.insert_one(customer(OLD[0], "Stale"))
    anonymise = Anonymiser(POLICY)
    with closing(Mirror(client, database, anonymise, keep=True)) as mirror:
        mirror.prepare()
        mirror.copy_range(EVERYTHING, 10)
        rename(source, "Kept")
        rename_here_alone(replica_set, source, "Stale")

        with pytest.raises(PyMongoError) as not_confirmed:
            mirror.copy_range(EVERYTHING, 10)
        roll_back(replica_set)
        mirror.copy_range(EVERYTHING, 10)

    assert not_confirmed.value.timeout
    assert bytes_by_id(target) == images(source, anonymise)
    assert source.count_documents({"firstName": "Kept"}) == 1
