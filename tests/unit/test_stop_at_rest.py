"""A stop that reaches the scanner together with the end of the listener."""

from multiprocessing import get_context
from typing import Any, cast

import pytest

from procs import lifeline
from procs.config import Database
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.messages import Stop
from procs.scanner import Scanner
from tests.mongo.sync_group import sync_config


def test_a_stop_that_comes_with_the_end_of_the_listener_is_not_slept_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fork = get_context("fork")
    (supervisor, control), (listener, inserted) = fork.Pipe(), fork.Pipe()
    waited: list[float] = []
    really_wait = lifeline.wait

    def wait(pipes: Any, timeout: float) -> list[Any]:
        waited.append(timeout)
        if len(waited) == 1:
            listener.close()
            supervisor.send(Stop())
        return really_wait(pipes, 0)

    monkeypatch.setattr(lifeline, "wait", wait)
    life = Lifeline(control, sync_config(Database("", "", "", "")))
    nothing = cast(Any, None)
    scanner = Scanner(life, nothing, nothing, Inbox(inserted), "policy")

    while not (life.stopping and scanner.inbox.empty):
        scanner.round()

    assert waited[0] > 0
    assert waited[1:] == [0.0]
