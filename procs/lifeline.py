"""A child's end of its control pipe: signs of life up, orders down."""

import logging
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from procs.messages import Beat, Failed, Finished, Gauge, Outlook, Reconfigure, Snapshot, Stop
from procs.meters import Meters

BEAT_EVERY_S = 1.0

ConfigT = TypeVar("ConfigT")


class Lifeline(Generic[ConfigT]):
    """Holds the child's present `config`; `stopping` turns true once and stays true.

    Beats are sent by the work loop itself, through `beat` and `wait`: a side thread would go on beating
    while the work hangs.
    """

    def __init__(self, control: "Connection[Any, Any]", config: ConfigT) -> None:
        self.config = config
        self.stopping = False
        self.status: dict[str, Any] | None = None
        """The newest status of the whole daemon; only the child that shows it to others is told."""
        self.meters = Meters()
        self.outlook: Outlook | None = None
        """What this child has found out about the way ahead, for its next beats."""
        self._control = control
        self._beat = Beat(phase="starting", work=0, allowed_silence_s=None, ready=False)
        self._beat_at = 0.0
        self._told = 0  # the newest round of work of which a beat has told

    @property
    def phase(self) -> str:
        """What the last beat said this child is doing."""
        return self._beat.phase

    def beat(
        self,
        phase: str | None = None,
        *,
        ready: bool = False,
        allowed_silence_s: float | None = None,
        **gauges: Gauge,
    ) -> None:
        """Tell that one more round of work was done.

        `ready` ends the starting phase (and stays). `allowed_silence_s` (None: HANG_TIMEOUT_MS) applies
        until the next beat. At most one unchanged beat a second is sent.
        """
        last = self._beat
        self._beat = Beat(
            phase=phase or last.phase,
            work=last.work + 1,
            allowed_silence_s=allowed_silence_s,
            ready=ready or last.ready,
            gauges={**last.gauges, **gauges},
        )
        news = (self._beat.phase, self._beat.ready, allowed_silence_s) != (
            last.phase,
            last.ready,
            last.allowed_silence_s,
        )
        if news or self._until_due(BEAT_EVERY_S) == 0:
            self._send_beat()

    def failed(self, reason: str, *, permanent: bool) -> None:
        """Tell why this child is about to exit. `reason` must be free of customer data and secrets."""
        self._send(Failed(reason, permanent))

    def finished(self, summary: dict[str, Gauge]) -> None:
        """Tell that the whole task is done; the child then exits 0."""
        self._send_beat()
        self._send(Finished(summary))

    def wait(
        self, timeout_s: float, *pipes: "Connection[Any, Any]", rest_s: float = BEAT_EVERY_S
    ) -> Sequence[Any]:
        """Wait for `pipes`, an order or the time-out; return the readable pipes.

        At most until the next beat is due: in a second, or in `rest_s` if the last one told all there is.
        """
        self.beat()
        due_in_s = self._until_due(rest_s if self._told == self._beat.work else BEAT_EVERY_S)
        readable = wait([self._control, *pipes], timeout=max(0.0, min(timeout_s, due_in_s)))
        if self._control in readable:
            self._take_orders()
        return [pipe for pipe in readable if pipe is not self._control]

    def outlive_partner(self) -> None:
        """Wait for the end after a pipe broke: the supervisor ends the rest of the group too."""
        while not self.stopping:
            self.wait(BEAT_EVERY_S)

    def _until_due(self, every_s: float) -> float:
        """Return for how long the next beat has time: all children beat at the same moments.

        The supervisor then wakes up once for all of them, where waking up costs most.
        """
        due = (self._beat_at // every_s + 1) * every_s
        return max(0.0, due - time.monotonic())

    def _take_orders(self) -> None:
        with _ended_with_supervisor():
            while self._control.poll():
                match self._control.recv():
                    case Stop():
                        self.stopping = True
                    case Reconfigure(config=config, log_level=log_level):
                        self.config = config
                        logging.getLogger().setLevel(log_level)
                    case Snapshot(status=status):
                        self.status = status

    def _send_beat(self) -> None:
        self._send(replace(self._beat, meters=self.meters.read(), outlook=self.outlook))

    def _send(self, message: Beat | Failed | Finished) -> None:
        with _ended_with_supervisor():
            # A stopped supervisor must not stop its children: a beat that finds the pipe full is left out.
            if not isinstance(message, Beat):
                self._control.send(message)
                return
            self._beat_at = time.monotonic()
            if select.select([], [self._control], [], 0)[1]:
                self._control.send(message)
                self._told = message.work


@contextmanager
def _ended_with_supervisor() -> Iterator[None]:
    """Exit where the control pipe is broken: the supervisor is gone, and the kernel ends us in a moment."""
    try:
        yield
    except (EOFError, OSError):
        sys.exit(1)
