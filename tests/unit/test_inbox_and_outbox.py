"""R2: what an acknowledgement covers, and how much may be under way."""

from collections.abc import Iterator
from functools import partial
from multiprocessing import Pipe

import pytest

from procs.inbox import SETTLES, Inbox
from procs.messages import AHEAD, WINDOW, Changed, Done, Drain, Id
from procs.outbox import Outbox

A, B, C = b"\x07A", b"\x07B", b"\x07C"


@pytest.fixture
def ends() -> Iterator[tuple[Outbox, Inbox]]:
    listener, writer = Pipe()
    with listener, writer:
        yield Outbox(listener), Inbox(writer)


def send(outbox: Outbox, *ids: Id) -> None:
    outbox.send(partial(Changed, ids=ids))


def test_r2_a_message_is_done_once_all_that_it_names_is_mirrored_and_no_sooner(
    ends: tuple[Outbox, Inbox],
) -> None:
    outbox, inbox = ends
    send(outbox, A, B)
    send(outbox, C)
    while inbox.receive():
        pass

    done = []
    while inbox.ids:
        assert len(inbox.take(1)) == 1
        inbox.acknowledge()
        outbox.take_acknowledgements()
        done.append(outbox.done)

    assert done == [0, 1, 2]


def test_an_id_that_is_named_again_while_it_waits_is_mirrored_once(ends: tuple[Outbox, Inbox]) -> None:
    outbox, inbox = ends
    for ids in ((A, B), (B, A), (A,)):
        send(outbox, *ids)
    while inbox.receive():
        pass

    taken = inbox.take(10)
    inbox.acknowledge()
    outbox.take_acknowledgements()

    assert taken == [A, B]
    assert outbox.done == 3


def test_r2_an_id_that_is_named_again_after_it_was_taken_is_mirrored_again(
    ends: tuple[Outbox, Inbox],
) -> None:
    outbox, inbox = ends
    send(outbox, A)
    inbox.receive()
    inbox.take(10)
    send(outbox, A)
    inbox.receive()

    inbox.acknowledge()
    outbox.take_acknowledgements()

    assert outbox.done == 1
    assert inbox.take(10) == [A]


def test_r2_a_message_without_ids_is_done_after_those_before_it(ends: tuple[Outbox, Inbox]) -> None:
    outbox, inbox = ends
    send(outbox, A)
    outbox.send(Drain)
    while inbox.receive():
        pass

    inbox.acknowledge()
    outbox.take_acknowledgements()
    before = outbox.done
    inbox.take(1)
    inbox.acknowledge()
    outbox.take_acknowledgements()

    assert (before, outbox.done) == (0, 2)


def test_no_more_is_sent_than_fits_into_the_pipe_unread(ends: tuple[Outbox, Inbox]) -> None:
    outbox, inbox = ends
    for _ in range(WINDOW):
        assert not outbox.full
        send(outbox, A)
    assert outbox.full

    while inbox.receive():
        pass
    inbox.take(1)
    send(outbox, B)  # what is read makes room, though it may not be mirrored yet
    inbox.receive()
    inbox.acknowledge()
    outbox.take_acknowledgements()

    assert not outbox.full


def test_no_more_is_under_way_than_is_mirrored_in_time(ends: tuple[Outbox, Inbox]) -> None:
    outbox, inbox = ends
    sent = 0
    while not outbox.full:
        send(outbox, sent.to_bytes(2, "big"))
        sent += 1
        inbox.receive()
        inbox.acknowledge()
        outbox.take_acknowledgements()

    assert (sent, outbox.done) == (AHEAD, 0)


def test_the_same_is_acknowledged_once(ends: tuple[Outbox, Inbox]) -> None:
    outbox, inbox = ends
    send(outbox, A)
    inbox.receive()
    inbox.take(1)

    inbox.acknowledge()
    inbox.acknowledge()

    assert outbox.pipe.recv() == Done(1, read=1)
    assert not outbox.pipe.poll()


def receive(ends: tuple[Outbox, Inbox], *names: Id) -> Inbox:
    """Have the listener send a message for each of `names`, and all of it received."""
    outbox, inbox = ends
    for name in names:
        send(outbox, name)
        inbox.receive()
    return inbox


OTHERS = tuple(b"\x07" + bytes([number]) for number in range(SETTLES))


def test_nobody_is_settled_before_enough_messages_came(ends: tuple[Outbox, Inbox]) -> None:
    inbox = receive(ends, *OTHERS)

    assert inbox.settled == 0


def test_all_are_settled_where_nobody_was_named_again(ends: tuple[Outbox, Inbox]) -> None:
    inbox = receive(ends, A, *OTHERS)

    assert inbox.settled == 1 + SETTLES


def test_where_somebody_was_named_again_those_are_settled_whom_enough_messages_did_not_name(
    ends: tuple[Outbox, Inbox],
) -> None:
    inbox = receive(ends, A, B, A, *OTHERS)

    assert inbox.take(inbox.settled) == [A, B]


def test_all_are_settled_again_once_he_who_was_named_again_is_mirrored(ends: tuple[Outbox, Inbox]) -> None:
    inbox = receive(ends, A, A, *OTHERS)
    inbox.take(inbox.settled)
    inbox.acknowledge()

    receive(ends, B)

    assert inbox.settled == len(inbox.ids)
