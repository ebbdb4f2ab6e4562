"""While the stream is behind, the writer waits until those who are named again and again have settled."""

from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from procs import lifeline, writer
from procs.config import Database
from procs.inbox import SETTLES
from procs.messages import WINDOW, Changed, Done
from procs.writer import ENOUGH
from tests.eventually import eventually
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.sync_group import CONTEXT, Running, sync_config
from tests.mongo.test_schedules import Converged


@pytest.fixture
def listener(database: Database) -> "Iterator[Connection[Any, Any]]":
    """The listener's end of the pipe to a writer that is at work."""
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database, batch_size=10), changed=its)
    yield ours
    child.stop()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for does come, as late as it may be."""
    monkeypatch.setattr(writer, "FOLLOWS_S", 20.0)
    monkeypatch.setattr(lifeline, "BEAT_EVERY_S", 1e9)


def told(listener: "Connection[Any, Any]", wanted: Done) -> list[Done]:
    """Return all acknowledgements up to this one."""
    found: list[Done] = []
    while wanted not in found:
        eventually(listener.poll)
        found.append(listener.recv())
    return found


@pytest.mark.usefixtures("patient")
def test_what_is_named_again_is_mirrored_once(
    listener: "Connection[Any, Any]", source: Customers, converged: Converged
) -> None:
    source.insert_one(customer(1, "A"))
    listener.send(Changed(1, tuple(ids(1)), more=True))
    told(listener, Done(0, read=1))
    source.update_one({"_id": 1}, {"$set": {"firstName": "B"}})

    listener.send(Changed(2, tuple(ids(1))))

    assert told(listener, Done(2, read=2)) == [Done(2, read=2)]
    assert converged()


@pytest.mark.usefixtures("patient")
def test_those_who_have_settled_are_mirrored_while_the_others_wait(
    listener: "Connection[Any, Any]", source: Customers, target: Customers
) -> None:
    source.insert_many([customer(each) for each in range(SETTLES + 10)])
    settled, others = range(10), range(10, SETTLES + 10)

    for seq, named in enumerate([settled, settled, *([each] for each in others)], 1):
        listener.send(Changed(seq, tuple(ids(*named)), more=True))

    told(listener, Done(2, read=SETTLES + 2))
    assert sorted(target.distinct("_id")) == [*settled]


@pytest.mark.usefixtures("patient")
def test_what_is_read_makes_room_in_the_pipe_while_the_writer_waits(
    listener: "Connection[Any, Any]",
) -> None:
    for seq in range(1, WINDOW):
        listener.send(Changed(seq, tuple(ids("one")), more=True))

    told(listener, Done(0, read=WINDOW - 1))


@pytest.mark.usefixtures("patient")
def test_a_stop_that_comes_while_the_next_message_is_waited_for_is_not_slept_over(
    database: Database, source: Customers, converged: Converged, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    really_wait = lifeline.wait

    def wait(pipes: Any, timeout: float) -> list[Any]:
        waited.append(timeout)
        return really_wait(pipes, timeout)

    monkeypatch.setattr(lifeline, "wait", wait)
    source.insert_one(customer(1))
    ours, its = CONTEXT.Pipe()
    child = Running(writer.run, sync_config(database), changed=its)
    ours.send(Changed(1, tuple(ids(1)), more=True))
    told(ours, Done(0, read=1))

    child.stop()

    assert waited[-2:] == [20.0, 0.0]
    assert converged()


@pytest.mark.usefixtures("patient")
def test_nobody_waits_for_ever_whoever_is_named_again(
    listener: "Connection[Any, Any]", source: Customers, converged: Converged
) -> None:
    source.insert_one(customer(1))

    for seq in range(1, ENOUGH + 1):
        listener.send(Changed(seq, tuple(ids(1)), more=True))
        told(listener, Done(0, read=seq))

    eventually(converged)


def test_where_nothing_follows_it_is_waited_for_once(
    listener: "Connection[Any, Any]",
    source: Customers,
    converged: Converged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "FOLLOWS_S", 0.9)
    source.insert_many([customer(each) for each in range(1000)])

    listener.send(Changed(1, tuple(ids(*range(1000))), more=True))

    eventually(converged)
