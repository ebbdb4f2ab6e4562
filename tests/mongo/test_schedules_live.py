"""R1, R2, R4: interleavings of whole children, each held or ended at the moment that matters."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from procs import listener, writer
from procs.anonymise import Anonymiser
from procs.config import Database, SyncConfig
from procs.fence import raise_fence
from procs.lifeline import Lifeline
from procs.messages import Changed, Done
from procs.mirror import Mirror
from procs.walk import Walker, Walks, begin
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.held import HeldCopy, HeldMirror
from tests.mongo.sync_group import CONTEXT, Running, SyncGroup, sync_config

Converged = Callable[[], bool]


@pytest.fixture
def held_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HeldMirror]]:
    """The mirrors of writers that start from now on: each is held once between reading and writing."""
    made: list[HeldMirror] = []

    def held_mirror(client: MongoClient[Any], config: SyncConfig, life: Lifeline[SyncConfig]) -> HeldMirror:
        made.append(HeldMirror(client, config.database, Anonymiser(config.policy), keep=True, beat=life.beat))
        return made[-1]

    monkeypatch.setattr(writer, "open_mirror", held_mirror)
    yield made
    for mirror in made:
        mirror.may_write.set()


def token(states: Customers) -> Any:
    """Return the stored resume token."""
    stored = states.find_one({"_id.kind": "checkpoint"})
    return stored and stored.get("token")


def test_r2_no_checkpoint_passes_a_change_that_is_read_and_not_written_yet(
    database: Database,
    source: Customers,
    states: Customers,
    converged: Converged,
    held_writer: list[HeldMirror],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SAVE_EVERY_S", "SAVE_IDLE_EVERY_S"):
        monkeypatch.setattr(listener, name, 0.0)
    source.insert_one(customer(1, "A"))
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.scanner.beat.phase == "live" and converged() and token(states))
        source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})
        assert held_writer[0].has_read.wait(20)
        before = token(states)

        # Many idle rounds of the stream, each of which would save its newer position.
        work = group.listener.beat.work
        eventually(lambda: group.listener.beat.work > work + 20)
        assert token(states) == before

        held_writer[0].may_write.set()
        eventually(lambda: token(states) != before)
        assert converged()


def test_r1_the_flush_too_touches_what_shows_no_difference(
    database: Database, source: Customers, converged: Converged, held_writer: list[HeldMirror]
) -> None:
    source.insert_one(customer(1, "A"))
    with SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.scanner.beat.phase == "live" and converged())
        flushed = group.scanner.mirrored
        source.delete_one({"_id": 1})
        assert held_writer[0].has_read.wait(20)
        source.insert_one(customer(1, "A"))
        eventually(lambda: group.scanner.mirrored > flushed)

        held_writer[0].may_write.set()

        eventually(lambda: held_writer[0].tries == 2)
        eventually(converged)


def test_r1_what_changes_behind_a_running_scan_is_mirrored(
    database: Database, source: Customers, target: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each, "A") for each in range(500)])
    with SyncGroup(sync_config(database, batch_size=2)) as group:
        eventually(lambda: target.count_documents({"_id": 0}))
        assert group.scanner.beat.phase == "catch-up"

        source.update_one({"_id": 0}, {"$set": {"firstName": "B"}})
        source.delete_one({"_id": 1})

        eventually(converged)


def test_r2_a_commit_whose_acknowledgement_was_lost_is_copied_again_without_harm(
    database: Database, source: Customers, mirror: Mirror, converged: Converged
) -> None:
    source.insert_one(customer(1, "A"))
    mirror.copy_ids(ids(1))
    source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})
    ours, its = CONTEXT.Pipe()
    first = Running(writer.run, sync_config(database), changed=its)
    ours.send(Changed(1, tuple(ids(1))))
    eventually(converged)
    ours.close()  # the kill: nobody reads that it was done
    first.stop()

    source.update_one({"_id": 1}, {"$set": {"firstName": "C"}})
    ours, its = CONTEXT.Pipe()
    second = Running(writer.run, sync_config(database), changed=its)
    ours.send(Changed(1, tuple(ids(1))))

    assert eventually(ours.poll) and ours.recv() == Done(1, read=1)
    assert converged()
    second.stop()


def test_a_customer_that_changes_again_and_again_while_the_writer_is_at_work_is_mirrored_once_more(
    database: Database, source: Customers, converged: Converged, held_writer: list[HeldMirror]
) -> None:
    source.insert_many([customer(1, "A"), customer(2, "A")])
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database, batch_size=2), changed=its)
    ours.send(Changed(1, tuple(ids(1))))
    eventually(lambda: held_writer and held_writer[0].has_read.is_set())
    source.update_many({}, {"$set": {"firstName": "B"}})
    for seq in range(2, 20):
        ours.send(Changed(seq, tuple(ids(1, 2))))

    held_writer[0].may_write.set()

    eventually(converged)
    eventually(lambda: ours.poll() and ours.recv().seq == 19)
    child.stop()
    assert held_writer[0].tries == 2


def test_r1_the_position_is_taken_before_the_fence_not_after_it(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    mirror: Mirror,
    anonymise: Anonymiser,
    converged: Converged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What reads right after the fence is stopped by the event of what happens next, which P must precede."""
    source.insert_one(customer(1, "A"))
    mirror.copy_ids(ids(1))
    source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})
    held = HeldCopy(client, database, anonymise, lambda copier: copier.copy_ids(ids(1)))

    def fence_and_then_a_change(*arguments: Any) -> float:
        waits_s = raise_fence(*arguments)
        held.__enter__()
        source.update_one({"_id": 1}, {"$set": {"firstName": "A"}})
        return waits_s

    monkeypatch.setattr(listener, "raise_fence", fence_and_then_a_change)
    with held_at_exit(held), SyncGroup(sync_config(database)) as group:
        eventually(lambda: group.listener.beat.phase == "live" and group.scanner.beat.phase == "live")
        eventually(lambda: group.listener.beat.gauges.get("pending") == 0)

        held.let_go()

        eventually(converged)
    assert target.count_documents({}) == 1


@contextlib.contextmanager
def held_at_exit(held: HeldCopy) -> Iterator[None]:
    """End a copy that was entered elsewhere."""
    try:
        yield
    finally:
        held.__exit__()


def test_one_transaction_with_ten_thousand_updates_reaches_the_mirror(
    client: MongoClient[Any], database: Database, source: Customers, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(10_000)])
    with SyncGroup(sync_config(database, batch_size=1000)) as group:
        eventually(lambda: group.scanner.beat.phase == "live" and converged(), 40)

        with client.start_session() as session, session.start_transaction():
            source.update_many({}, {"$set": {"firstName": "Jane"}}, session=session)

        eventually(converged, 40)


def test_r1_a_kill_after_any_chunk_of_a_walk_lets_the_next_one_go_on(
    client: MongoClient[Any], database: Database, source: Customers, mirror: Mirror, converged: Converged
) -> None:
    source.insert_many([customer(each) for each in range(50)])
    walks = Walks(client, database)
    walk = begin(mirror.pair, "reindex", "policy")
    killed_after = 0
    while walk.spans:
        # Saved before the chunk, as it is at the latest: the chunk itself is done and not remembered.
        walks.save(walk)
        Walker(mirror, walks, walk).step(7)
        source.update_one({"_id": killed_after}, {"$set": {"firstName": "Jane"}})
        mirror.copy_ids(ids(killed_after))
        found = walks.load("policy")
        assert found == walk
        walker = Walker(mirror, walks, found)
        walker.step(7)
        walk = walker.walk
        killed_after += 1

    assert killed_after == 8
    assert converged()


def test_r2_an_error_of_the_server_is_not_taken_for_done(
    client: MongoClient[Any], database: Database, source: Customers, mirror: Mirror
) -> None:
    source.insert_one(customer(1))
    refused = {"configureFailPoint": "failCommand", "mode": {"times": 1}}
    refused["data"] = {"failCommands": ["commitTransaction"], "errorCode": 8, "appName": "clientsync writer"}
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database), changed=its)
    eventually(lambda: child.beat.ready)

    client.admin.command(refused)
    ours.send(Changed(1, tuple(ids(1))))

    eventually(lambda: not child.alive)
    assert child.error is not None
    assert not ours.poll()
