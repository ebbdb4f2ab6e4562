"""A child's end of its control pipe."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import pytest

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
