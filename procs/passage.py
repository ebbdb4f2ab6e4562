"""Tells a verify what is still under way: whether the mirror has passed a moment, and what changed after it.

All that happened before a moment of the stream is mirrored once the checkpoint is behind it and no walk is
left. That is only read here: it works beside any instance, and without one.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import state
from procs.changestream import ChangeStream, HistoryLost
from procs.checkpoint import Checkpoints
from procs.config import SyncConfig
from procs.lease import Lease
from procs.messages import Id
from procs.mongo import RAW, is_transient

STANDSTILL_S = 10.0
"""What does not move for so long, beside the times that the settings allow, may be nobody's any more."""

LOOK_EVERY_S = 0.1
AWAIT_MS = 100

STREAM, WALK = "stream", "walk"
"""What the active instance has to do; the walk of a `--full` goes by its `instance@node`."""


class Passage:
    """One moment, the present one, in the change stream of the source.

    It sleeps by `pause`. `patient`: it waits for the mirror also while nobody holds the lease.
    """

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        config: SyncConfig,
        pause: Callable[[float], None] = time.sleep,
        *,
        patient: bool = False,
    ) -> None:
        self._client, self._database = client, config.database
        self._stream = ChangeStream(client, config.database, None)
        self._moment = self._stream.position.order
        self._checkpoints = Checkpoints(client, config.database)
        self._lease = Lease(client, config.database, config.holder, config.lease_ms)
        self._states = state.collection(client, config.database).with_options(codec_options=RAW)
        self._pause, self._patient = pause, patient
        self._standstill_s = STANDSTILL_S + (config.lease_ms + config.flush_ms) / 1000

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def wait(self) -> None:
        """Return once everything before this moment is mirrored, or nobody is at work on it."""
        moved_at, before = time.monotonic(), None
        while left := self._left():
            now = time.monotonic()
            if left != before:
                moved_at, before = now, left
            elif now - moved_at >= self._standstill_s and not self._is_owed(left):
                return
            self._pause(LOOK_EVERY_S)

    def changed_since(self) -> set[Id] | None:
        """Return the customers that changed between this moment and now; None: maybe all of them."""
        now = ChangeStream(self._client, self._database, None)
        now.close()
        changed = set[Id]()
        while self._stream.position.order < now.position.order:
            try:
                batch = self._stream.next_batch(AWAIT_MS)
            except HistoryLost:
                return None
            except PyMongoError as error:  # the cursor is gone: with a primary, or after half an hour
                if not is_transient(error):
                    raise
                return None
            if batch.invalidated:
                return None
            changed.update(batch.inserted, batch.changed)
            self._pause(0)
        return changed

    def _left(self) -> dict[str, Any]:
        """Return what is not done yet: what the active instance owes, and the walks of `--full`."""
        left: dict[str, Any] = {}
        position = self._checkpoints.position()
        if position is None or position.order < self._moment:
            left[STREAM] = position
        ours = {f"_id.{name}": value for name, value in state.key(self._database, "walk").items()}
        for walk in self._states.find(ours):
            left[str(walk["_id"].get("run", WALK))] = bytes(walk.raw)
        return left

    def _is_owed(self, left: dict[str, Any]) -> bool:
        """Tell whether somebody will do it; a `--full` that was interrupted may never go on."""
        owed = STREAM in left or WALK in left
        return owed and (self._patient or self._lease.is_held())
