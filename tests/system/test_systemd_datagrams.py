"""What the daemon tells systemd as it starts, reloads and stops; here a socket takes its place."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.system.conftest import SmallTree

Plant = Callable[..., SmallTree]


class Listener:
    """Keeps all datagrams that have come, each as its lines."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.path)
        self._all: list[list[str]] = []

    def told(self) -> list[list[str]]:
        """Return all that has come so far."""
        with suppress(BlockingIOError):
            while True:
                self._all.append(self._socket.recv(4096).decode().split("\n"))
        return self._all

    def turns(self) -> list[list[str]]:
        """Return the datagrams that tell of a new state of the service."""
        return [lines for lines in self.told() if not lines[0].startswith(("STATUS", "EXTEND"))]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "notify")
    yield listener
    listener.close()


def test_ready_is_the_last_word_of_a_start(plant: Plant, systemd: Listener) -> None:
    plant({"NOTIFY_SOCKET": systemd.path}).healthy()

    eventually(systemd.turns)
    assert systemd.told()[-2:] == [["STATUS=at work"], ["READY=1"]]


@pytest.mark.parametrize("line", ["FAKER_BATCH_MAX=20", "SYNC_BATCHSIZE=10"])
def test_a_reload_accepted_or_refused_begins_and_ends(plant: Plant, systemd: Listener, line: str) -> None:
    tree = plant({"NOTIFY_SOCKET": systemd.path})
    tree.healthy()
    with (tree.directory / ".env").open("a") as file:
        file.write(f"{line}\n")

    tree.ask("reload")

    eventually(lambda: len(systemd.turns()) == 3)
    started, reloading, over = systemd.turns()
    assert started == over == ["READY=1"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].removeprefix("MONOTONIC_USEC=").isdigit()


def test_a_stop_is_told_with_the_time_that_it_may_take(plant: Plant, systemd: Listener) -> None:
    tree = plant({"NOTIFY_SOCKET": systemd.path}, STOP_TIMEOUT_MS="7000")
    tree.healthy()

    assert tree.ask("stop").code == 0

    assert systemd.told()[-3:] == [["STATUS=stopping"], ["STOPPING=1"], ["EXTEND_TIMEOUT_USEC=12000000"]]


def test_the_loop_feeds_the_watchdog(plant: Plant, systemd: Listener) -> None:
    plant({"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "1000000"}).healthy()
    fed = systemd.told().count(["WATCHDOG=1"])

    eventually(lambda: systemd.told().count(["WATCHDOG=1"]) >= fed + 4)
