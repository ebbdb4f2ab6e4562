"""The receiving end of a pipe of scanner and writer: ids in, acknowledgements out."""

from collections import deque
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from procs.messages import Done, Id

SETTLES = 18
"""How many messages may pass until a customer that changes several times is named again: three full batches
of the stream, if `_id`s are ObjectIds.
"""


class Inbox:
    """Collects ids until they are mirrored, each once, in the order of their first mention.

    `seq` is that of the newest message received.
    """

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self.pipe = pipe
        self.ids: dict[Id, None] = {}
        self.seq = 0
        self.acknowledged = 0
        self.closed = False
        self.more = False
        """Whether another message follows at once, as the newest said."""
        self._told = Done(0, read=0)
        self._taken = 0
        self._named_again = 0
        """The newest message that named one who was waiting already."""
        self._marks: deque[tuple[int, int]] = deque()
        """Of each message: its number, and how many ids are taken once all that it names are."""

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
        self.more = getattr(message, "more", False)
        ids = getattr(message, "ids", ())
        named = len(self.ids) + len(ids)
        self.ids.update(dict.fromkeys(ids))
        if len(self.ids) < named:
            self._named_again = message.seq
        self._marks.append((self.seq, self._taken + len(self.ids)))
        return message

    @property
    def settled(self) -> int:
        """How many of those that wait longest will hardly be named again before they are mirrored."""
        if len(self._marks) <= SETTLES:
            return 0
        if self._named_again <= self.acknowledged:
            return len(self.ids)
        return self._marks[-1 - SETTLES][1] - self._taken

    def take(self, limit: int) -> list[Id]:
        """Take out the ids that wait longest; one that is named again from now on waits anew."""
        ids = list(islice(self.ids, limit))
        for id_ in ids:
            del self.ids[id_]
        self._taken += len(ids)
        return ids

    def acknowledge(self) -> None:
        """What was taken has its effect: tell the listener how far that leads, and what was read."""
        while self._marks and self._marks[0][1] <= self._taken:
            self.acknowledged, _ = self._marks.popleft()
        done = Done(self.acknowledged, read=self.seq)
        if self.closed or done == self._told:
            return
        try:
            self.pipe.send(done)
            self._told = done
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True
