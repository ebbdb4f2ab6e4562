"""What systemd receives, datagram by datagram."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(5)
        yield bound


@pytest.fixture
def notifier(systemd: socket.socket) -> Iterator[Notifier]:
    notifier = Notifier(systemd.getsockname())
    yield notifier
    notifier.close()


def test_ready_stopping_and_watchdog(systemd: socket.socket) -> None:
    notifier = Notifier(systemd.getsockname(), watchdog_s=10)

    notifier.ready()
    notifier.stopping()
    notifier.watchdog()

    assert [systemd.recv(4096) for _ in range(3)] == [b"READY=1", b"STOPPING=1", b"WATCHDOG=1"]
    notifier.close()


def test_reloading_and_its_time_come_in_one_datagram(systemd: socket.socket, notifier: Notifier) -> None:
    notifier.reloading()

    first, second = systemd.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_more_time_is_asked_for_in_microseconds(systemd: socket.socket, notifier: Notifier) -> None:
    notifier.extend(1.5)

    assert systemd.recv(4096) == b"EXTEND_TIMEOUT_USEC=1500000"


def test_a_status_is_sent_when_it_is_new_in_any_script_and_on_one_line(
    systemd: socket.socket, notifier: Notifier
) -> None:
    for text in ("wartet auf Zürich → 東京", "wartet auf Zürich → 東京", "two\nREADY=1"):
        notifier.status(text)
    notifier.ready()

    datagrams = [systemd.recv(4096).decode() for _ in range(3)]
    assert datagrams == ["STATUS=wartet auf Zürich → 東京", "STATUS=two", "READY=1"]


def test_without_a_watchdog_nothing_is_sent_for_it(systemd: socket.socket, notifier: Notifier) -> None:
    notifier.watchdog()
    notifier.ready()

    assert systemd.recv(4096) == b"READY=1"


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0clientsync-test-{os.getpid()}")
        bound.settimeout(5)
        notifier = Notifier(f"@clientsync-test-{os.getpid()}")

        notifier.ready()

        assert bound.recv(4096) == b"READY=1"
        notifier.close()


def test_nobody_listening_and_a_full_queue_stop_nobody(tmp_path: Path, systemd: socket.socket) -> None:
    for address in (str(tmp_path / "nobody"), systemd.getsockname()):
        notifier = Notifier(address)
        for _ in range(5_000):
            notifier.ready()
        notifier.close()
    Notifier(None).ready()


def test_what_a_full_queue_did_not_take_is_sent_later_and_in_order(
    systemd: socket.socket, notifier: Notifier
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        before = 0
        with suppress(BlockingIOError):
            while True:
                before += len(b"x") == other.sendto(b"x", systemd.getsockname())
    notifier.ready()
    notifier.status("at work")
    assert [systemd.recv(4096) for _ in range(before)] == [b"x"] * before

    notifier.watchdog()

    assert [systemd.recv(4096) for _ in range(2)] == [b"READY=1", b"STATUS=at work"]


def test_what_systemd_set_is_taken_out_of_the_environment_so_that_no_child_speaks_for_us() -> None:
    environ = {
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }

    notifier = Notifier.from_environ(environ)

    assert environ == {"A": "b"}
    assert notifier.watchdog_s == 3
    notifier.close()


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_a_watchdog_that_is_not_for_us_is_not_fed(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": "/run/n", **environ})

    assert notifier.watchdog_s is None
    notifier.close()
