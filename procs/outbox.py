"""The listener's end of a pipe: numbered messages out, acknowledgements in, a bounded number in between."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from procs.messages import AHEAD, WINDOW, Done


class Outbox:
    """Counts what was sent and what has a majority-committed effect."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self.pipe = pipe
        self.sent = 0
        self.done = 0
        self.read = 0

    @property
    def full(self) -> bool:
        """Whether one more message could fill the pipe's buffer, or the other end has enough to do."""
        return self.sent - self.read >= WINDOW or self.sent - self.done >= AHEAD

    def send(self, message: Callable[[int], object]) -> None:
        """Send what `message` makes of the next sequence number. Call it only while not full."""
        self.sent += 1
        self.pipe.send(message(self.sent))

    def take_acknowledgements(self) -> None:
        """Read what has come in, without waiting. Raises EOFError when the other end is gone."""
        while self.pipe.poll():
            match self.pipe.recv():
                case Done(seq=seq, read=read):
                    self.done, self.read = seq, read
