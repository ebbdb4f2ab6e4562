"""Reads the source by `_id`: small flushes of inserted customers, and walks of the whole collection."""

import logging
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from procs.anonymise import Anonymiser
from procs.config import SyncConfig
from procs.flush import flush
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.messages import WINDOW, Drain, Scan, ScanKind
from procs.mirror import Mirror, open_mirror
from procs.mongo import Stopped, connect, ride_out
from procs.walk import Superseded, Walker, Walks, begin

log = logging.getLogger(__name__)

RETRY_UNMIRRORABLE_S = 60.0


def run(life: Lifeline[SyncConfig], inserted: "Connection[Any, Any]") -> None:
    """Be the scanner until a stop is asked for; what is pending by then is still mirrored."""
    config = life.config
    with connect(config.database, "scanner") as client:
        mirror = open_mirror(client, config, life)
        walks = Walks(client, config.database)
        scanner = Scanner(life, mirror, walks, Inbox(inserted), Anonymiser(config.policy).fingerprint)
        try:
            ride_out(life, mirror.prepare)
            life.beat("standby", ready=True)  # until the listener is active, and says what to scan
            while not (life.stopping and scanner.inbox.empty):
                scanner.round()
        except Stopped:
            return
        finally:
            mirror.close()


class Scanner:
    """Pending inserts, and the walk that goes on between two flushes."""

    def __init__(
        self, life: Lifeline[SyncConfig], mirror: Mirror, walks: Walks, inbox: Inbox, policy: str
    ) -> None:
        self.inbox = inbox
        self._life, self._mirror, self._walks, self._policy = life, mirror, walks, policy
        self._walker: Walker | None = None
        self._active = False
        """A scan was asked for: this instance has been active on the stream."""
        self._begun_at, self._begun_with = 0.0, 0
        """When the walk began in this process, and how many customers it had scanned by then."""
        self._flush_at: float | None = None
        self._retry_at = time.monotonic() + RETRY_UNMIRRORABLE_S

    def round(self) -> None:
        """Take what has come in, flush if it is time, copy one chunk of the walk, or wait."""
        self._take_messages()
        now = time.monotonic()
        if self._flush_at is not None and (now >= self._flush_at or self._life.stopping):
            self._flush_at = None
            flush(self._life, self._mirror, self.inbox)
        if self._walker is not None:  # after each flush too: inserts without end must not hold it up
            self._walk(self._walker)
        if now >= self._retry_at:
            if self._active:
                ride_out(self._life, self._mirror.retry_unmirrorable)
            self._retry_at = time.monotonic() + RETRY_UNMIRRORABLE_S
        self._life.wait(self._time_to_wait(), *self.inbox.pipes, rest_s=self._life.config.rest_s)

    def _take_messages(self) -> None:
        inbox, config = self.inbox, self._life.config
        while inbox.unacknowledged < WINDOW and (message := inbox.receive()):
            now = time.monotonic()
            match message:
                case Scan(kind=kind, term=term):
                    self._active = True
                    ride_out(self._life, partial(self._begin, kind, term))
                    self._flush_by(now)
                case Drain():
                    self._flush_by(now)
                case _:
                    self._flush_by(now + config.flush_ms / 1000)
        if len(inbox.ids) >= config.flush_inserts or inbox.unacknowledged >= WINDOW:
            self._flush_by(time.monotonic())

    def _flush_by(self, when: float) -> None:
        self._flush_at = when if self._flush_at is None else min(self._flush_at, when)

    def _begin(self, kind: ScanKind | None, term: int) -> None:
        """Start a new walk, or (None) find the one that was interrupted."""
        self._walker = None
        if kind is None:
            walk = self._walks.load(self._policy, term)
        else:
            walk = begin(self._mirror.pair, kind, self._policy, term)
        if walk is None:
            self._end_walk()
            return
        try:
            self._walks.save(walk)  # before the acknowledgement: the checkpoint rests on it
        except Superseded:
            self._leave_walk_to_others()
            return
        self._walker = Walker(self._mirror, self._walks, walk)
        self._begun_at, self._begun_with = time.monotonic(), walk.copied.scanned
        self._life.beat(walk.scan, scan=walk.scan, total=ride_out(self._life, self._mirror.pair.source_size))
        log.info("%s begins", walk.scan, extra={"event": "scan_begins", "scan": walk.scan})

    def _walk(self, walker: Walker) -> None:
        try:
            ride_out(self._life, lambda: walker.step(self._life.config.batch_size))
        except Superseded:
            self._leave_walk_to_others()
        if self._walker is not None:
            scanned = walker.walk.copied.scanned
            rate = (scanned - self._begun_with) / max(time.monotonic() - self._begun_at, 0.001)
            self._life.beat(scanned=scanned, rate=round(rate))
        if not walker.walk.spans:
            ride_out(self._life, lambda: self._walks.forget(walker.walk))
            self._end_walk()
            log.info("%s done", walker.walk.scan, extra={"event": "scan_done", **walker.walk.summary()})

    def _end_walk(self) -> None:
        self._walker = None
        self._life.beat("live", scan=None, scanned=None, total=None, rate=None)

    def _leave_walk_to_others(self) -> None:
        self._end_walk()
        log.info("another instance goes on with the scan", extra={"event": "scan_superseded"})

    def _time_to_wait(self) -> float:
        if self._walker is not None or self._life.stopping:
            return 0.0
        return (self._retry_at if self._flush_at is None else self._flush_at) - time.monotonic()
