"""The control socket: one request, one reply, and clients that misbehave."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from supervisor import control
from supervisor.control import MAX_CLIENTS, ControlServer, NoAnswer, NotRunning, Request, ask


class Served:
    """A control server and the loop that drives it, as the daemon would, in a thread of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = ControlServer(path)
        self.answers: dict[str, Callable[[Request], None]] = {
            "status": lambda request: request.reply({"ok": True, "text": "well"})
        }
        self.ended = False
        self.thread = threading.Thread(target=self._loop)
        self.thread.start()

    def _loop(self) -> None:
        while not self.ended:
            now = time.monotonic()
            patience = min(0.05, max(0.0, self.server.next_deadline() - now))
            ready: list[Any] = wait(list(self.server.waitables()), timeout=patience)
            for request in self.server.take(ready, time.monotonic()):
                assert request.command is not None
                self.answers.get(request.command, lambda _: None)(request)

    def end(self) -> None:
        self.ended = True
        self.thread.join()
        self.server.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "default.sock")
    yield served
    served.end()


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(str(path))
    return client


def test_a_request_gets_its_reply(served: Served) -> None:
    assert ask(served.path, "status", 5) == {"ok": True, "text": "well"}


def test_the_socket_is_for_its_owner_alone(served: Served) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o600


def test_a_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    served = Served(deep / "default.sock")

    assert ask(served.path, "status", 5)["ok"]

    served.end()


def test_nobody_at_the_socket_is_not_running(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()

    for path in (tmp_path / "missing.sock", tmp_path / "no" / "directory.sock", tmp_path / "stale.sock"):
        with pytest.raises(NotRunning):
            ask(path, "status", 5)


def test_a_stale_socket_is_replaced_and_a_closed_server_leaves_none(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(tmp_path / "default.sock"))
    stale.close()

    served = Served(tmp_path / "default.sock")
    assert ask(served.path, "status", 5)["ok"]
    served.end()

    assert not served.path.exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "default.sock").write_text("precious")

    with pytest.raises(OSError, match="Address already in use"):
        ControlServer(tmp_path / "default.sock")

    assert (tmp_path / "default.sock").read_text() == "precious"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b'{"command": []}\n',
        b'{"command": "rm -rf"}\n',
        b"[" * 3000 + b"\n",
        b"x" * 10_000,
    ],
)
def test_garbage_is_told_so_and_hung_up_on(served: Served, garbage: bytes) -> None:
    with connect(served.path) as client:
        client.sendall(garbage)
        reply = json.loads(client.makefile().readline())

    assert reply == {"ok": False, "text": "a request is {'command': one of ['reload', 'status', 'stop']}"}
    assert ask(served.path, "status", 5)["ok"]


def test_a_request_may_come_in_pieces(served: Served) -> None:
    with connect(served.path) as client:
        for piece in (b'{"comm', b'and": "sta', b'tus"}\n'):
            client.sendall(piece)
            assert ask(served.path, "status", 5)["ok"]

        assert json.loads(client.makefile().readline())["ok"]


def test_silent_clients_block_nobody_and_are_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.3)
    clients = [connect(served.path) for _ in range(MAX_CLIENTS - 1)]

    assert ask(served.path, "status", 5)["ok"]
    replies = [json.loads(client.makefile().readline()) for client in clients]

    assert replies == [{"ok": False, "text": "no request came in time"}] * len(clients)
    for client in clients:
        client.close()


def test_too_many_clients_are_told_so(served: Served) -> None:
    clients = [connect(served.path) for _ in range(MAX_CLIENTS + 1)]

    assert json.loads(clients[-1].makefile().readline()) == {"ok": False, "text": "too many clients"}

    for client in clients:
        client.close()


def test_a_client_that_left_before_its_reply_stops_nobody(served: Served) -> None:
    waiting: list[Request] = []
    served.answers["reload"] = waiting.append
    with connect(served.path) as client:
        client.sendall(b'{"command": "reload"}\n')
        assert ask(served.path, "status", 5)["ok"]

    assert ask(served.path, "status", 5)["ok"]
    for request in waiting:
        request.reply({"ok": True})

    assert len(waiting) == 1


def test_a_reply_may_come_much_later_than_the_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.1)
    timers = []

    def later(request: Request) -> None:
        timers.append(threading.Timer(0.5, request.reply, [{"ok": True, "text": "done"}]))
        timers[-1].start()

    served.answers["reload"] = later

    assert ask(served.path, "reload", 10)["text"] == "done"
    timers[0].join()


def test_no_reply_in_time_is_no_answer(served: Served) -> None:
    with pytest.raises(NoAnswer):
        ask(served.path, "reload", 0.1)


def test_a_daemon_that_hangs_up_without_a_reply_is_no_answer(served: Served) -> None:
    served.answers["stop"] = lambda request: request.connection.close()

    with pytest.raises(NoAnswer):
        ask(served.path, "stop", 5)
