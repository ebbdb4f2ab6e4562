"""What systemd is told as the state changes, datagram by datagram."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor import health
from supervisor.decide import decide
from supervisor.herald import Herald
from supervisor.notify import Notifier
from supervisor.state import Event, Exited, Heard, Limits, Start, StopAsked, initial
from supervisor.tree import Child, Mode

URI = "mongodb://db.example/"
ROWS = [Child(name, print, frozenset(Mode), "sync", 1, "sync") for name in ("listener", "scanner", "writer")]


class Systemd:
    """Receives what a herald tells of a replayed state."""

    def __init__(self, path: str, watchdog_s: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)
        self._notifier = Notifier(path, watchdog_s)
        self._state = initial(ROWS, Limits(stop_s=40, intensity=2))
        self.herald = Herald(self._notifier)

    def told(self, now: float, *events: Event) -> list[str]:
        """Return what a round in which these events happen makes it hear."""
        for event in events:
            self._state, _ = decide(self._state, event, now)
        self.herald.tell(self._state, health.sync_phase(self._state), URI, now)
        return self.heard()

    def heard(self) -> list[str]:
        datagrams = []
        with suppress(BlockingIOError):
            while True:
                datagrams.append(self._socket.recv(4096).decode())
        return datagrams

    def close(self) -> None:
        self._socket.close()
        self._notifier.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(str(tmp_path / "notify"))
    yield systemd
    systemd.close()


def at_work(*names: str, phase: str = "live") -> list[Event]:
    return [Heard(name, phase, ready=True) for name in names]


@pytest.fixture
def ready(systemd: Systemd) -> Systemd:
    """A systemd that has heard READY."""
    assert "READY=1" in systemd.told(0, Start(), *at_work("listener", "scanner", "writer"))
    return systemd


def test_ready_comes_once_when_the_last_child_is_at_work_and_after_the_status(systemd: Systemd) -> None:
    assert "READY=1" not in systemd.told(0, Start(), *at_work("listener", "scanner"))
    assert systemd.told(1, *at_work("writer")) == ["STATUS=at work, mirror live", "READY=1"]
    assert systemd.told(2, *at_work("writer")) == []


def test_ready_comes_with_a_status_that_says_so_when_all_wait_for_mongodb(systemd: Systemd) -> None:
    waiting: list[Event] = [Heard(row.name, "waiting", ready=False) for row in ROWS]

    assert "READY=1" not in systemd.told(0, Start(), *waiting[:2])
    assert systemd.told(1, *waiting) == ["READY=1"]


def test_a_start_that_goes_on_asks_for_more_time_again_and_again(systemd: Systemd) -> None:
    rounds = [systemd.told(0, Start()), *(systemd.told(now) for now in range(1, 31))]

    extended = [now for now, told in enumerate(rounds) if "EXTEND_TIMEOUT_USEC=30000000" in told]
    assert extended == [0, 5, 10, 15, 20, 25, 30]


def test_a_start_that_fails_again_and_again_asks_for_no_more(systemd: Systemd) -> None:
    systemd.told(0, Start())
    for now in (10, 60):
        systemd.told(now, *(Exited(row.name, "SIGKILL", -9, jitter=0.5) for row in ROWS))

    assert not any("EXTEND" in each for each in systemd.told(70))


def test_a_stop_is_told_once_with_the_time_that_it_may_take(ready: Systemd) -> None:
    assert ready.told(1, StopAsked()) == ["STATUS=stopping", "STOPPING=1", "EXTEND_TIMEOUT_USEC=45000000"]
    assert ready.told(2) == []


def test_a_stop_before_it_was_ready_is_told_too(systemd: Systemd) -> None:
    systemd.told(0, Start())

    assert "STOPPING=1" in systemd.told(1, StopAsked())
    assert "READY=1" not in systemd.told(2, *at_work("listener", "scanner", "writer"))


def test_a_reload_begins_and_ends(ready: Systemd) -> None:
    ready.herald.reload_begins()
    ready.herald.reload_is_over()

    begun, over = ready.heard()
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert over == "READY=1"


def test_a_reload_during_the_start_does_not_end_it(systemd: Systemd) -> None:
    systemd.told(0, Start())

    systemd.herald.reload_begins()
    systemd.herald.reload_is_over()

    assert systemd.heard() == []


def test_a_reload_that_a_stop_overtakes_does_not_take_the_stop_back(ready: Systemd) -> None:
    ready.herald.reload_begins()
    ready.told(1, StopAsked())

    ready.herald.reload_is_over()

    assert ready.heard() == []


def test_each_round_feeds_the_watchdog(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"), watchdog_s=10)

    for now in range(3):
        assert systemd.told(now)[-1] == "WATCHDOG=1"
    systemd.close()
