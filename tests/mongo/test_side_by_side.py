"""Two halves of what was named are copied at once: all of it, or an error; and no beat hides a hang."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from pymongo import MongoClient

from procs import side_by_side, writer
from procs.anonymise import Anonymiser
from procs.config import Database, SyncConfig
from procs.copied import Copied
from procs.lifeline import Lifeline
from procs.messages import Changed, Done
from procs.mirror import Mirror, SourceMissing
from procs.side_by_side import SideBySide
from tests.eventually import eventually
from tests.mongo import held
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.held import HeldMirror
from tests.mongo.sync_group import CONTEXT, Running, sync_config
from tests.mongo.test_schedules import Converged


@pytest.fixture
def life(database: Database) -> Iterator[Lifeline[SyncConfig]]:
    ours, its = CONTEXT.Pipe()
    yield Lifeline(its, sync_config(database, batch_size=10))
    ours.close()


@pytest.fixture
def both(life: Lifeline[SyncConfig], client: MongoClient[Any], mirror: Mirror) -> Iterator[SideBySide]:
    opened = SideBySide(life, client, mirror)
    yield opened
    opened.close()


def hold_mirrors_of(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[HeldMirror]:
    """Return the mirrors that `module` opens from now on: each is held once between reading and writing."""
    made: list[HeldMirror] = []

    def open_held(
        client: MongoClient[Any], config: SyncConfig, life: Lifeline[SyncConfig], beat: Any = None
    ) -> HeldMirror:
        anonymise = Anonymiser(config.policy)
        made.append(HeldMirror(client, config.database, anonymise, keep=True, beat=beat or life.beat))
        return made[-1]

    monkeypatch.setattr(module, "open_mirror", open_held)
    return made


@pytest.fixture
def held_first(monkeypatch: pytest.MonkeyPatch) -> list[HeldMirror]:
    return hold_mirrors_of(writer, monkeypatch)


@pytest.fixture
def held_second(monkeypatch: pytest.MonkeyPatch) -> list[HeldMirror]:
    return hold_mirrors_of(side_by_side, monkeypatch)


@pytest.mark.parametrize("count", [1, 10, 11, 20, 25])
def test_all_that_was_named_is_copied_in_one_transaction_or_two(
    life: Lifeline[SyncConfig], both: SideBySide, source: Customers, converged: Converged, count: int
) -> None:
    source.insert_many([customer(each) for each in range(count)])

    copied = both.copy_ids(ids(*range(count)))

    assert copied == Copied(scanned=count, inserted=count)
    assert converged()


def test_the_halves_are_copied_at_the_same_time_and_acknowledged_once_both_are_done(
    source: Customers,
    target: Customers,
    held_first: list[HeldMirror],
    held_second: list[HeldMirror],
    database: Database,
    converged: Converged,
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database, batch_size=10), changed=its)

    ours.send(Changed(1, tuple(ids(*range(20)))))

    for mirrors in (held_first, held_second):
        eventually(lambda mirrors=mirrors: mirrors and mirrors[0].has_read.is_set())
    held_first[0].may_write.set()
    eventually(lambda: target.count_documents({}) == 10)
    assert not ours.poll()
    held_second[0].may_write.set()
    eventually(ours.poll)
    assert ours.recv() == Done(1, read=1)
    assert converged()
    child.stop()


def test_while_the_second_half_hangs_there_is_no_beat(
    source: Customers, target: Customers, held_second: list[HeldMirror], database: Database
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database, batch_size=10), changed=its)
    ours.send(Changed(1, tuple(ids(*range(20)))))
    eventually(lambda: target.count_documents({}) == 10)

    def is_silent() -> bool:
        """Wait for longer than an idle child keeps silent."""
        before = child.beat.work
        return not child.control.poll(2.5) and child.beat.work == before

    eventually(is_silent)
    work = child.beat.work
    held_second[0].may_write.set()
    eventually(lambda: child.beat.work > work)
    child.stop()


@pytest.mark.parametrize("source_is_gone", [False, True])
def test_what_goes_wrong_in_the_second_half_is_raised_whatever_the_first_meets(
    both: SideBySide,
    source: Customers,
    target: Customers,
    held_second: list[HeldMirror],
    monkeypatch: pytest.MonkeyPatch,
    source_is_gone: bool,
) -> None:
    monkeypatch.setattr(held, "PATIENCE_S", 0.1)
    (target if source_is_gone else source).insert_many([customer(each) for each in range(20)])

    with pytest.raises(AssertionError, match="never let go"):
        both.copy_ids(ids(*range(20)))


def test_a_source_that_is_gone_empties_neither_half(both: SideBySide, target: Customers) -> None:
    target.insert_many([customer(each) for each in range(20)])

    with pytest.raises(SourceMissing):
        both.copy_ids(ids(*range(20)))

    assert target.count_documents({}) == 20
