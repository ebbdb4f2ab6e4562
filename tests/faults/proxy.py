"""A network between the product and a mongod that breaks where a test wants it to."""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

# https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
HEADER = struct.Struct("<iiii")
OP_MSG = 2013
COMMAND_AT = HEADER.size + len("flag") + len("k") + len("size") + len("t")
"""Where the name of the first element of the first section begins: the command."""


class Connection:
    """One connection of a client, and the one to the server that it stands for."""

    def __init__(self, proxy: "Proxy", client: socket.socket) -> None:
        self._proxy, self._client = proxy, client
        self._server = socket.create_connection(proxy.target)
        self._doomed: set[int] = set()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._ask, self._answer)]
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        """Break it off: neither end hears of the other again."""
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(5)
        self._client.close()
        self._server.close()

    def _ask(self) -> None:
        with contextlib.suppress(OSError):
            while message := receive(self._client):
                match self._proxy.judge(command_in(message)):
                    case "before":
                        break
                    case "after":
                        self._doomed.add(HEADER.unpack_from(message)[1])
                self._server.sendall(message)
        self.cut()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while message := receive(self._server):
                if HEADER.unpack_from(message)[2] in self._doomed:
                    break
                self._client.sendall(message)
        self.cut()


class Proxy:
    """Listens on `port` for `target`; `hits` tells how often a command was cut off."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.hits = 0
        self._command, self._when, self._left = "", "", 0
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for each in self._connections:
            each.close()

    def cut_off(self, command: str, when: str, times: int) -> None:
        """Break the connections of the next `times` commands of this name, `before` or `after` the effect."""
        with self._lock:
            self.hits, self._command, self._when, self._left = 0, command, when, times

    def cut_all(self) -> None:
        """Break every connection that there is."""
        for each in list(self._connections):
            each.cut()

    def judge(self, command: str) -> str:
        """Tell when the connection that brings `command` must break: `before`, `after` or (empty) never."""
        with self._lock:
            if command != self._command or not self._left:
                return ""
            self._left -= 1
            self.hits += 1
            return self._when

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    self._connections.append(Connection(self, client))
                except OSError:
                    client.close()


def receive(sender: socket.socket) -> bytes:
    """Return one whole message, nothing at the end."""
    header = exactly(sender, HEADER.size)
    return header and header + exactly(sender, HEADER.unpack(header)[0] - HEADER.size)


def exactly(sender: socket.socket, size: int) -> bytes:
    """Return `size` bytes, or nothing if the sender is gone before."""
    received = bytearray()
    while len(received) < size:
        part = sender.recv(size - len(received))
        if not part:
            return b""
        received += part
    return bytes(received)


def command_in(message: bytes) -> str:
    """Return the name of the command in a request."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return ""
    return message[COMMAND_AT : message.index(0, COMMAND_AT)].decode()
