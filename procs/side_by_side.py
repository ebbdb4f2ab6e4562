"""Copies many named customers in two transactions at once: MongoDB writes for one, the other anonymises.

R1 holds for any transactions side by side; these seldom meet, for each copies other customers.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

from pymongo import MongoClient

from procs.config import SyncConfig
from procs.copied import Copied
from procs.lifeline import Lifeline
from procs.messages import Id
from procs.mirror import Mirror, SourceMissing, open_mirror


class SideBySide:
    """Two mirrors of one process: the second is at work in a thread while the first is, and only then."""

    def __init__(
        self, life: Lifeline[SyncConfig], client: "MongoClient[dict[str, Any]]", first: Mirror
    ) -> None:
        self._life, self._client, self._first = life, client, first
        self._stirs = Event()
        """The thread is alive: beats are sent by the work loop alone."""
        self._second: Mirror | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)

    def close(self) -> None:
        """End the thread and give the session of the second mirror back."""
        self._thread.shutdown()
        if self._second is not None:
            self._second.close()

    def copy_ids(self, ids: Sequence[Id]) -> Copied:
        """Copy these customers; those of more than one batch in halves. Raises what either half raises."""
        if len(ids) <= self._life.config.batch_size:
            return self._first.copy_ids(ids)
        if self._second is None:
            self._second = open_mirror(self._client, self._life.config, self._life, beat=self._stirs.set)
        middle = len(ids) // 2
        aside = self._thread.submit(self._second.copy_ids, ids[middle:])
        aside.add_done_callback(lambda _: self._stirs.set())
        missing: SourceMissing | None = None
        try:
            copied = self._first.copy_ids(ids[:middle])
        except SourceMissing as error:
            copied, missing = Copied(), error
        finally:
            self._wait_for(aside)
        copied += aside.result()  # what else went wrong there comes first
        if missing is not None:
            raise missing
        return copied

    def _wait_for(self, aside: "Future[Copied]") -> None:
        """Wait for the other half; it is watched as this thread is: silence is a hang."""
        while not aside.done():
            self._stirs.wait()
            self._stirs.clear()
            self._life.beat()
