"""The control socket: one line of JSON in, one line of JSON out. Only its owner may connect."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_CLIENTS = 32
MAX_REQUEST_BYTES = 4_096
MAX_REPLY_BYTES = 10_000_000
REQUEST_S = 5.0
"""A client that has not finished its line by then is cut off."""
COMMANDS = frozenset({"status", "reload", "stop"})


class NotRunning(Exception):
    """Nobody listens on the control socket."""


class NoAnswer(Exception):
    """Somebody listens, but the answer did not come, or makes no sense."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield an address for `path` of any length: the kernel takes 107 bytes only."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


@dataclass(eq=False)
class Request:
    """A client and what it asked for; every request gets exactly one reply."""

    connection: socket.socket
    until: float
    """When it must have finished its line."""
    received: bytearray = field(default_factory=bytearray)
    command: str | None = None

    def fileno(self) -> int:
        """Readable when more of the line has come, or the client is gone."""
        return self.connection.fileno()

    def reply(self, answer: dict[str, Any]) -> None:
        """Answer and hang up; never waits: a client that does not read loses its answer."""
        with suppress(OSError):
            self.connection.send(json.dumps(answer).encode() + b"\n")
        self.connection.close()

    @property
    def gone(self) -> bool:
        """Whether it was answered or has hung up."""
        return self.connection.fileno() < 0


class ControlServer:
    """The side of the daemon, driven by its loop: nothing here ever waits."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`, in place of a stale socket: only the owner of the instance may. OSError."""
        self._path = path
        self._clients: list[Request] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.setblocking(False)
            if path.is_socket():
                path.unlink()
            before = os.umask(0o177)
            try:
                with short_path(path) as address:
                    self._listener.bind(address)
            finally:
                os.umask(before)
            self._listener.listen(MAX_CLIENTS)
        except OSError:
            self._listener.close()
            raise

    def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        for client in self._clients:
            client.connection.close()
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()

    def waitables(self) -> Sequence[Any]:
        """Return what the loop has to wait for."""
        self._clients = [client for client in self._clients if not client.gone]
        return [self._listener, *self._clients]

    def next_deadline(self) -> float:
        """Return when the slowest client is to be cut off."""
        waiting = [client.until for client in self._clients if client.command is None and not client.gone]
        return min(waiting, default=float("inf"))

    def take(self, ready: Sequence[Any], now: float) -> list[Request]:
        """Accept, read, cut off; return the requests that are complete."""
        complete = []
        for client in self._clients:
            if client in ready and self._read(client):
                complete.append(client)
            elif client.command is None and now >= client.until:
                client.reply({"ok": False, "text": "no request came in time"})
        if self._listener in ready:
            self._accept(now)
        return complete

    def _accept(self, now: float) -> None:
        with suppress(OSError):  # gone again, or no descriptor left: it may ask again
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            client = Request(connection, until=now + REQUEST_S)
            if len(self._clients) >= MAX_CLIENTS:
                client.reply({"ok": False, "text": "too many clients"})
            else:
                self._clients.append(client)

    def _read(self, client: Request) -> bool:
        """Read what is there; tell whether that completes the request."""
        try:
            chunk = client.connection.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            client.connection.close()
            return False
        if client.command is not None:
            return False
        client.received += chunk
        line, newline, _ = client.received.partition(b"\n")
        if newline:
            client.command = _command(bytes(line))
        if client.command is None and (newline or len(client.received) > MAX_REQUEST_BYTES):
            client.reply({"ok": False, "text": f"a request is {{'command': one of {sorted(COMMANDS)}}}"})
        return client.command is not None


def _command(line: bytes) -> str | None:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    command = request.get("command") if isinstance(request, dict) else None
    return command if isinstance(command, str) and command in COMMANDS else None


def ask(path: Path, command: str, timeout_s: float) -> dict[str, Any]:
    """Return the daemon's answer. Raises NotRunning, NoAnswer, or OSError (no right to connect)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with short_path(path) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotRunning from error
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused: the reply says why
                connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_REPLY_BYTES)
            answer = json.loads(line)
        except (OSError, ValueError) as error:
            raise NoAnswer from error
    if not isinstance(answer, dict):
        raise NoAnswer
    return answer
