"""The receiving end of a pipe of scanner and writer: ids in, acknowledgements out."""

from multiprocessing.connection import Connection
from typing import Any

from procs.messages import Done, Id


class Inbox:
    """Collects ids until they are mirrored; `seq` is that of the newest message taken."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self.pipe = pipe
        self.ids: dict[Id, None] = {}
        self.seq = 0
        self.acknowledged = 0
        self.closed = False

    @property
    def unacknowledged(self) -> int:
        """How many messages the listener is still waiting for."""
        return self.seq - self.acknowledged

    @property
    def pipes(self) -> "tuple[Connection[Any, Any], ...]":
        """What to wait on."""
        return () if self.closed else (self.pipe,)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to mirror, neither here nor in the pipe."""
        return not self.unacknowledged and (self.closed or not self.pipe.poll())

    def receive(self) -> Any:
        """Return the next message that is there, or None; notes its number and ids."""
        try:
            if self.closed or not self.pipe.poll():
                return None
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):  # the listener is gone: the supervisor ends this child next
            self.closed = True
            return None
        self.seq = message.seq
        self.ids.update(dict.fromkeys(getattr(message, "ids", ())))
        return message

    def acknowledge(self) -> None:
        """Everything taken so far has its effect."""
        self.ids.clear()
        self.acknowledged = self.seq
        if self.closed:
            return
        try:
            self.pipe.send(Done(self.seq))
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True
