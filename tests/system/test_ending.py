"""A stop, gentle or not, and what a killed supervisor leaves behind: nothing."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.eventually import eventually
from tests.system.conftest import SmallTree


def nothing_left(tree: SmallTree) -> bool:
    return tree.processes() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_daemon_stage_by_stage(tree: SmallTree, number: int) -> None:
    tree.send(number)

    assert tree.wait() == 0
    assert nothing_left(tree)
    assert not (tree.state_dir / "default.sock").exists()
    ended = [line["child"] for line in tree.events("child_ended")]
    assert ended.index("left") < ended.index("right")
    assert {line["cause"] for line in tree.events("child_ended")} == {"exit code 0"}


def test_the_command_stop_waits_until_the_daemon_is_gone(tree: SmallTree) -> None:
    stopped = tree.ask("stop")

    assert (stopped.code, stopped.out) == (0, f"stopped (pid {tree.pid})\n")
    assert nothing_left(tree)
    assert tree.ask("stop").code == 3
    assert tree.wait() == 0


def test_a_child_that_does_not_obey_is_killed_at_the_deadline(plant: Callable[..., SmallTree]) -> None:
    tree = plant(STOP_TIMEOUT_MS="700")
    tree.healthy()
    tree.tell("left", "be deaf")
    eventually(lambda: not (tree.directory / "left.do").exists())

    tree.send(signal.SIGTERM)

    assert tree.wait() == 0
    ended = {line["child"]: line["cause"] for line in tree.events("child_ended")}
    assert ended["left"] == "SIGKILL"


def test_a_stop_while_a_child_is_stopped_ends_at_the_deadline(plant: Callable[..., SmallTree]) -> None:
    tree = plant(STOP_TIMEOUT_MS="700")
    os.kill(tree.healthy()["children"][0]["pid"], signal.SIGSTOP)

    assert tree.ask("stop").code == 0

    assert tree.wait() == 0
    assert nothing_left(tree)


def test_the_second_interrupt_ends_at_once_with_1(plant: Callable[..., SmallTree]) -> None:
    tree = plant(STOP_TIMEOUT_MS="60000")
    os.kill(tree.healthy()["children"][0]["pid"], signal.SIGSTOP)
    tree.send(signal.SIGINT)
    eventually(lambda: tree.events("stopping"))

    tree.send(signal.SIGINT)

    assert tree.wait() == 1
    assert nothing_left(tree)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_process_group_is_an_orderly_stop(tree: SmallTree, number: int) -> None:
    os.killpg(tree.pid, number)

    assert tree.wait() == 0
    assert {line["cause"] for line in tree.events("child_ended")} == {"exit code 0"}


def test_a_hang_up_of_the_terminal_is_a_reload_and_kills_nobody(tree: SmallTree) -> None:
    before = tree.pids()

    os.killpg(tree.pid, signal.SIGHUP)
    eventually(lambda: tree.events("reload_done"))

    assert tree.pids() == before


@pytest.mark.parametrize("stopped", [None, "solo", "right"])
def test_a_killed_supervisor_leaves_nothing_not_even_a_stopped_child(
    tree: SmallTree, stopped: str | None
) -> None:
    if stopped:
        os.kill(tree.pids()[stopped], signal.SIGSTOP)

    tree.send(signal.SIGKILL)
    tree.wait()

    eventually(lambda: nothing_left(tree), 5)


def test_a_killed_supervisor_can_be_started_again_over_its_stale_socket(
    tree: SmallTree, plant: Callable[..., SmallTree]
) -> None:
    os.kill(tree.pids()["solo"], signal.SIGKILL)
    eventually(lambda: tree.status()["deaths"])
    tree.send(signal.SIGKILL)
    tree.wait()
    assert (tree.state_dir / "default.sock").exists()
    assert tree.ask("status").code == 3

    again = plant()

    assert [death["child"] for death in again.healthy()["deaths"]] == ["solo"]


def test_a_stop_at_any_moment_of_the_start_stops(plant: Callable[..., SmallTree]) -> None:
    for moment in range(12):
        tree = plant()
        begun_at = time.monotonic()
        # 0 to 0.9 s: before the first import, while children are forked, and after.
        eventually(lambda begun_at=begun_at, wanted=moment * 0.08: time.monotonic() - begun_at >= wanted)

        tree.send(signal.SIGTERM)

        assert tree.wait() in {0, -signal.SIGTERM}
        assert nothing_left(tree)
