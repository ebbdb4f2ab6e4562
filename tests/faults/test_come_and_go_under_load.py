"""R1, R3: the source is dropped, renamed away and back while an application goes on writing."""

from collections.abc import Callable

import pytest

from procs.anonymise import Anonymiser
from procs.config import Database
from supervisor.settings import load
from tests.chaos.writers import Writer
from tests.eventually import eventually
from tests.faults.effort import IN_FULL
from tests.mongo.customers import Customers, bytes_by_id, images
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

Run = Callable[..., DaemonProcess]

ROUNDS = 10 if IN_FULL else 1
MANY = 30
"""So many changes between two blows show that work goes on."""

REST = 2
"""So many checkpoints later, about one a second, the mirror must be as it was."""


@pytest.fixture
def wrong(database: Database, source: Customers, mirror: Customers) -> Callable[[], int]:
    """Count the customers that are missing, stale or left over."""
    policy = load(None, {"MONGO_URI": database.uri}, instance="oracle").sync.policy

    def count() -> int:
        wanted, found = images(source, Anonymiser(policy)), bytes_by_id(mirror)
        return sum(wanted.get(id_) != found.get(id_) for id_ in wanted.keys() | found.keys())

    return count


def goes_on(writer: Writer) -> None:
    done = writer.done
    eventually(lambda: writer.done >= done + MANY, 30, "the application goes on")


def token(states: Customers) -> str:
    return str((states.find_one({"_id.kind": "checkpoint"}) or {}).get("token", {}).get("_data", ""))


def checkpoint_moves(states: Customers) -> None:
    before = token(states)
    eventually(lambda: token(states) > before)


def stays(judge: Callable[[], bool], states: Customers) -> bool:
    for _ in range(REST):
        checkpoint_moves(states)
    return judge()


@pytest.mark.parametrize("on_drop", ["keep", "empty"])
def test_r3_a_source_that_comes_and_goes_under_load_is_mirrored_as_it_is_at_last_and_then_kept_or_not(
    database: Database,
    connected: CommandLine,
    source: Customers,
    mirror: Customers,
    states: Customers,
    run: Run,
    wrong: Callable[[], int],
    on_drop: str,
) -> None:
    daemon = run(connected.having(SYNC_ON_DROP=on_drop), "start", "sync")
    daemon.healthy()

    with Writer(database.uri, database.name, database.source, 1, 0) as application:
        for _ in range(ROUNDS):
            goes_on(application)
            source.drop()
            goes_on(application)
            source.rename("away")
            goes_on(application)
            away = source.database["away"]
            away.update_many({}, {"$set": {"lastName": "Changed elsewhere"}})
            away.rename(source.name, dropTarget=True)
            goes_on(application)
            source.drop()
            source.insert_one({"_id": "made again at once"})
        goes_on(application)

    eventually(lambda: not wrong(), 60, "convergence")
    assert stays(lambda: not wrong(), states)
    before = bytes_by_id(mirror)
    assert len(before) > MANY
    source.drop()
    eventually(lambda: states.count_documents({"_id.kind": "checkpoint", "sourceMissing": True}))
    if on_drop == "empty":
        eventually(lambda: mirror.count_documents({}) == 0)
    assert stays(lambda: bytes_by_id(mirror) == (before if on_drop == "keep" else {}), states)
    assert {child["restarts"] for child in daemon.status()["children"]} == {0}
    assert daemon.events("history_lost") == []
