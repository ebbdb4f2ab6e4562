"""Signals arrive as bytes on a socket that the loop waits for; no work is done in a handler."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def block() -> None:
    """Hold back the handled signals from now on: one that comes before the handlers stand is kept."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


@contextmanager
def held() -> Iterator[None]:
    """Hold back all signals, so that a forked child never runs a handler of its parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """Between enter and exit the handled signals are delivered here; outside they are held back."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return self

    def __exit__(self, *_: object) -> None:
        block()
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """Return the numbers of the signals that have come, in order."""
        try:
            return list(self._reader.recv(4096))
        except BlockingIOError:
            return []


def _nothing(number: int, frame: FrameType | None) -> None:
    """Python writes the number to the wake-up socket only if a handler is set."""
