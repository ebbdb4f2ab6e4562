"""What happens to real processes when one of them dies, hangs, gives up or is done."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.system.conftest import SmallTree


@pytest.mark.parametrize("name", ["solo", "left", "right"])
def test_a_killed_child_is_replaced(tree: SmallTree, name: str) -> None:
    pid = tree.pids()[name]

    os.kill(pid, signal.SIGKILL)

    assert tree.replaced(name, pid)["restarts"] == 1


def test_partners_die_together_and_start_together_on_fresh_pipes(tree: SmallTree) -> None:
    before = tree.pids()

    os.kill(before["right"], signal.SIGKILL)
    tree.replaced("right", before["right"])
    tree.healthy()

    left, right = tree.child("left"), tree.child("right")
    assert left["pid"] != before["left"]
    assert (left["gauges"]["partner"], right["gauges"]["partner"]) == (right["pid"], left["pid"])
    assert (left["restarts"], right["restarts"]) == (0, 1)
    assert tree.pids()["solo"] == before["solo"]


def test_who_finds_the_pipe_broken_is_not_blamed_for_it(tree: SmallTree) -> None:
    tree.tell("left", "read")
    before = tree.pids()

    os.kill(before["right"], signal.SIGKILL)
    tree.replaced("left", before["left"])

    assert [(death["child"], death["cause"]) for death in tree.status()["deaths"]] == [("right", "SIGKILL")]


def test_an_exit_with_code_0_that_nobody_asked_for_is_replaced_and_remembered(tree: SmallTree) -> None:
    pid = tree.pids()["solo"]

    tree.tell("solo", "leave")
    tree.replaced("solo", pid)

    (death,) = tree.status()["deaths"]
    assert (death["child"], death["pid"], death["cause"]) == ("solo", pid, "exit code 0")


def test_an_error_is_told_by_type_and_place_without_its_text_and_without_traceback(tree: SmallTree) -> None:
    pid = tree.pids()["solo"]

    tree.tell("solo", "crash")
    tree.replaced("solo", pid)

    (death,) = tree.status()["deaths"]
    assert death["reason"].startswith("ValueError at small_tree.py:")
    assert "customer" not in tree.log.read_text()
    assert tree.told() == ""


def test_a_stopped_child_is_killed_and_replaced(plant: Callable[..., SmallTree]) -> None:
    tree = plant(HANG_TIMEOUT_MS="2000")
    pid = tree.healthy()["children"][0]["pid"]

    os.kill(pid, signal.SIGSTOP)
    tree.replaced("solo", pid)

    (death,) = tree.status()["deaths"]
    assert death["cause"] == "SIGKILL"
    assert death["reason"].startswith("silent for ")


def test_a_hung_child_writes_down_where_it_hangs(plant: Callable[..., SmallTree]) -> None:
    tree = plant(HANG_TIMEOUT_MS="2000")
    pid = tree.healthy()["children"][0]["pid"]

    tree.tell("solo", "hang")
    tree.replaced("solo", pid)

    stacks = (tree.state_dir / "default.solo.stacks").read_text()
    assert f"solo (pid {pid}): silent for" in stacks
    assert "in hang" in stacks


def test_a_permanent_error_ends_the_daemon_with_78_and_its_line(tree: SmallTree) -> None:
    tree.tell("left", "give up")

    assert tree.wait() == 78
    (line,) = tree.events("giving_up")
    assert line["message"] == "left: SOME_SETTING is wrong: mend it"
    assert tree.processes() == {}
    assert tree.told() == ""


def test_a_finished_task_ends_the_daemon_with_0(tree: SmallTree) -> None:
    tree.tell("solo", "finish")

    assert tree.wait() == 0
    assert tree.processes() == {}


def test_a_child_keeps_nothing_of_its_parent_open(tree: SmallTree) -> None:
    def kinds(pid: int) -> list[str]:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if int(entry.name) > 2]
        return sorted(link.partition(":")[0] for link in links if link != "/dev/null")

    pids = tree.pids()

    # Its control pipe and its pipes are sockets; two ends of pipes tell each of the other's death.
    assert kinds(pids["solo"]) == [str(tree.state_dir / "default.solo.stacks"), "pipe", "pipe", "socket"]
    assert kinds(pids["left"]).count("socket") == 2


def test_titles_tell_who_is_who(tree: SmallTree) -> None:
    titles = set(tree.processes().values())

    assert {"clientsync: solo (default)", "clientsync: left (default)"} <= titles


def test_a_child_that_cannot_start_makes_the_daemon_degraded_but_not_gone(
    plant: Callable[..., SmallTree],
) -> None:
    tree = plant()
    (tree.directory / "solo.do").mkdir()

    eventually(lambda: tree.child("solo").get("state") == "degraded", 60, "degraded")

    status = tree.status()
    assert not status["healthy"]
    assert status["reason"].startswith("solo: degraded")
    assert tree.child("left")["state"] == "running"
    assert len(tree.events("group_degraded")) == 1


def test_an_outage_is_said_once_and_its_end_once(tree: SmallTree) -> None:
    tree.tell("solo", "wait for MongoDB")
    tree.tell("left", "wait for MongoDB")
    eventually(lambda: tree.status()["reason"] == "MongoDB cannot be reached")
    tree.tell("solo", "go on")
    tree.tell("left", "go on")
    tree.healthy()

    (line,) = tree.events("mongodb_unreachable")
    assert "mongodb://127.0.0.1:1" in line["message"]
    assert len(tree.events("mongodb_reachable")) == 1


def test_an_idle_supervisor_hardly_runs(tree: SmallTree) -> None:
    def switches() -> int:
        lines = Path(f"/proc/{tree.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    before, began = switches(), time.monotonic()
    eventually(lambda: time.monotonic() > began + 4, 10)

    # Three children, one beat a second each, and some room.
    assert (switches() - before) / 4 < 20
