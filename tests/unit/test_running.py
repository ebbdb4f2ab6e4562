"""The parent's side of a live child."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from procs.messages import Beat, Snapshot, Stop
from supervisor.child import FORK, Running


@pytest.fixture
def child() -> Iterator[Running]:
    ours, its = FORK.Pipe()
    its.send(Beat("serving", 1, None, ready=True))
    yield Running("web", FORK.Process(target=print), ours, Path("unused"), born_at=0.0, beat_at=0.0)
    ours.close()
    its.close()


def test_a_child_that_reads_nothing_holds_up_no_snapshot_and_no_log(
    child: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5_000):
        child.send(Snapshot({"reason": "x" * 10_000}))

    assert not caplog.records


def test_a_child_that_takes_no_orders_any_more_is_told_of(
    child: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5_000):
        child.send(Snapshot({"reason": "x" * 10_000}))
    child.send(Stop())

    assert [record.message for record in caplog.records] == ["web does not take orders (Stop)"]


def test_the_newest_beat_is_known_and_when_it_came(child: Running) -> None:
    before = time.monotonic()

    (beat,) = child.receive()

    assert child.beat == beat
    assert child.beat_at >= before
