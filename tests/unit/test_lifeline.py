"""A child's end of its control pipe."""

from collections.abc import Callable
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest

from procs import lifeline
from procs.lifeline import Lifeline
from procs.messages import Beat, Reconfigure, Stop

Life = Lifeline[str]


def pair() -> tuple[Any, Life]:
    ours, its = get_context("fork").Pipe()
    return ours, Lifeline(its, "config")


@pytest.mark.parametrize(
    "act",
    [
        lambda life: life.wait(0),
        lambda life: life.beat("at work"),
        lambda life: life.failed("why", permanent=False),
        lambda life: life.finished({}),
    ],
    ids=["wait", "beat", "failed", "finished"],
)
def test_a_child_whose_supervisor_is_gone_exits_without_a_word(act: Callable[[Life], object]) -> None:
    ours, life = pair()
    ours.close()

    with pytest.raises(SystemExit):
        act(life)


def test_a_stop_is_never_taken_back() -> None:
    ours, life = pair()

    ours.send(Stop())
    ours.send(Reconfigure("new", "INFO"))
    life.wait(1)

    assert (life.stopping, life.config) == (True, "new")


def test_a_beat_that_finds_the_pipe_full_is_left_out_and_the_work_goes_on() -> None:
    ours, life = pair()

    for number in range(5000):
        life.beat(f"phase {number}")

    assert isinstance(ours.recv(), Beat)


def beats_of(ours: Any) -> int:
    beats = 0
    while ours.poll():
        beats += isinstance(ours.recv(), Beat)
    return beats


def test_children_that_began_at_different_moments_beat_at_the_same_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.2]
    monkeypatch.setattr(lifeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    early, first = pair()
    late, second = pair()
    first.beat()
    clock[0] = 100.9
    second.beat()
    began = beats_of(early), beats_of(late)

    beats = []
    for clock[0] in (100.99, 101.0, 101.5, 101.99, 102.1):
        first.beat()
        second.beat()
        beats.append((beats_of(early), beats_of(late)))

    assert began == (1, 1)
    assert beats == [(0, 0), (1, 1), (0, 0), (0, 0), (1, 1)]


def test_an_idle_child_rests_for_longer_but_not_before_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.25]
    monkeypatch.setattr(lifeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    waited: list[float] = []
    monkeypatch.setattr(lifeline, "wait", lambda _, timeout: [waited.append(timeout)][:0])
    ours, life = pair()
    life.beat("live")
    life.beat(scanned=7)

    life.wait(60, rest_s=5)
    clock[0] = 101.0
    life.wait(60, rest_s=5)
    clock[0] = 105.0
    life.wait(3, rest_s=5)

    assert waited == [0.75, 4.0, 3]
    told = [beat.gauges for beat in iter(lambda: ours.poll() and ours.recv(), False)]
    assert told == [{}, {"scanned": 7}, {"scanned": 7}]


def test_a_child_whose_supervisor_does_not_listen_goes_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [10.25]
    monkeypatch.setattr(lifeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    ours, life = pair()
    for number in range(5000):
        life.beat(f"phase {number}")
    clock[0] = 20.25
    waited: list[float] = []
    monkeypatch.setattr(lifeline, "wait", lambda _, timeout: [waited.append(timeout)][:0])

    life.wait(60, rest_s=5)

    assert waited == [0.75], "what it could not tell is told as soon as possible"
    ours.close()
