"""What the listener has sent on, until its effect is there: the checkpoint may follow only then (R2)."""

import time
from collections import deque
from dataclasses import dataclass

from procs.checkpoint import Checkpoint
from procs.outbox import Outbox


@dataclass(frozen=True)
class Sent:
    """One batch on its way: done when both pipes have acknowledged up to these numbers."""

    checkpoint: Checkpoint
    to_scanner: int
    to_writer: int
    ids: int
    at: float
    age_s: float
    """How long before that the oldest change of it had happened."""


class UnderWay:
    """The batches that are not done, in their order."""

    def __init__(self, scanner: Outbox, writer: Outbox) -> None:
        self._scanner, self._writer = scanner, writer
        self._sent: deque[Sent] = deque()

    def __bool__(self) -> bool:
        """Tell whether any batch is not done."""
        return bool(self._sent)

    def note(self, checkpoint: Checkpoint, ids: int, age_s: float) -> None:
        """All that leads to `checkpoint` was sent; `ids` customers were named, for the first time now."""
        if not ids and self._sent and self._sent[-1].ids == 0:
            self._sent.pop()  # an idle stream moves on: only the newest position counts
        sent = Sent(checkpoint, self._scanner.sent, self._writer.sent, ids, time.monotonic(), age_s)
        self._sent.append(sent)

    def take_done(self) -> tuple[Checkpoint | None, int]:
        """Return the newest checkpoint that has become done, and how many customers were named up to it."""
        checkpoint, ids = None, 0
        while self._sent and self._is_done(self._sent[0]):
            done = self._sent.popleft()
            checkpoint, ids = done.checkpoint, ids + done.ids
        return checkpoint, ids

    def forget(self) -> None:
        """The checkpoints behind them are worth nothing any more."""
        self._sent.clear()

    @property
    def ids(self) -> int:
        """How many customers are pending."""
        return sum(sent.ids for sent in self._sent)

    def waits_s(self) -> tuple[float, float]:
        """Return for how long the oldest pending customer is under way, and how old its change is."""
        oldest = next((sent for sent in self._sent if sent.ids), None)
        if oldest is None:
            return 0.0, 0.0
        waits = time.monotonic() - oldest.at
        return waits, waits + oldest.age_s

    def _is_done(self, sent: Sent) -> bool:
        return self._scanner.done >= sent.to_scanner and self._writer.done >= sent.to_writer
