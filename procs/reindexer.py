"""`--full`: walks the whole source once, beside whatever else is running, and tells what it found.

It divides the walk into ranges and hands them out to the copiers; what they have done it remembers.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from pymongo import MongoClient

from procs import preflight
from procs.anonymise import Anonymiser
from procs.checkpoint import Checkpoints
from procs.config import SyncConfig
from procs.copier import Chunk
from procs.errors import PermanentError
from procs.fence import raise_fence
from procs.lease import Lease
from procs.lifeline import Lifeline
from procs.mongo import Stopped, connect, ride_out
from procs.pair import Pair
from procs.selection import Range
from procs.walk import SAVE_EVERY_S, Walk, Walks, begin, tell_source_missing

log = logging.getLogger(__name__)

PARTS_EACH = 8
"""Ranges for each copier: the last one to be ready keeps the others waiting for a part of one only."""

SAMPLES = 25
"""How many customers are drawn for each range, so that the ranges are of about the same size."""


def run(life: Lifeline[SyncConfig], **copiers: "Connection[Any, Any]") -> None:
    """Reindex, report the summary and return; a stop in between leaves the walk to the next run."""
    config = life.config
    with connect(config.database, "reindexer") as client:
        policy = Anonymiser(config.policy).fingerprint
        pair = Pair(client, config.database)
        walks = Walks(client, config.database, run=config.holder)
        try:
            ride_out(life, lambda: preflight.require(client, config.database))
            ride_out(life, lambda: _adopt_policy(client, config, policy))
            # What a killed run left open would hold its customers for a minute.
            ride_out(life, lambda: raise_fence(client, config.database))
            walk = ride_out(life, lambda: walks.load(policy))
            if walk is None:
                walk = ride_out(life, lambda: _begin(pair, policy, PARTS_EACH * len(copiers)))
            else:
                log.info("going on with an interrupted reindex", extra={"event": "scan_resumed"})
            life.beat("reindex", ready=True, total=ride_out(life, pair.source_size))
            reindex = Reindex(life, walks, walk, list(copiers.values()))
            while reindex.walk.spans and not life.stopping:
                reindex.round()
            if reindex.walk.spans:
                ride_out(life, lambda: walks.save(reindex.walk))
                return
            ride_out(life, lambda: walks.forget(reindex.walk))
            life.finished(reindex.walk.summary())
        except Stopped:
            return
        except (EOFError, BrokenPipeError, ConnectionResetError):
            life.outlive_partner()


class Reindex:
    """One walk on its way: ranges that wait, and those that a copier is at work on."""

    def __init__(
        self,
        life: Lifeline[SyncConfig],
        walks: Walks,
        walk: Walk,
        copiers: "Sequence[Connection[Any, Any]]",
    ) -> None:
        self.walk = walk
        self._life, self._walks, self._copiers = life, walks, copiers
        self._waiting = deque(walk.spans)
        self._at_work: dict[Connection[Any, Any], Range] = {}
        self._begun_at = self._noted_at = self._saved_at = time.monotonic()
        self._scanned_before = walk.copied.scanned

    def round(self) -> None:
        """Hand out ranges to idle copiers, and take what the others have done."""
        for copier in self._copiers:
            if copier not in self._at_work and self._waiting:
                self._at_work[copier] = self._waiting.popleft()
                copier.send(self._at_work[copier])
        for copier in self._life.wait(SAVE_EVERY_S, *self._at_work):
            self._take(copier, copier.recv())
        done, now = self.walk.copied, time.monotonic()
        rate = (done.scanned - self._scanned_before) / max(now - self._begun_at, 0.001)
        self._life.beat(
            scanned=done.scanned,
            inserted=done.inserted,
            replaced=done.replaced,
            deleted=done.deleted,
            unchanged=done.unchanged,
            rate=round(rate),
        )
        if now - self._saved_at >= SAVE_EVERY_S:
            ride_out(self._life, lambda: self._walks.save(self.walk, anew=False))
            self._saved_at = now

    def _take(self, copier: "Connection[Any, Any]", chunk: Chunk) -> None:
        if chunk.source_missing:
            if self.walk.spans:
                tell_source_missing()
            self._waiting.clear()
            self._at_work.clear()
        elif chunk.rest is None:
            self._at_work.pop(copier, None)
        elif copier in self._at_work:
            self._at_work[copier] = chunk.rest
        now = time.monotonic()
        self.walk = replace(
            self.walk,
            spans=(*self._at_work.values(), *self._waiting),
            copied=self.walk.copied + chunk.copied,
            seconds=self.walk.seconds + now - self._noted_at,
        )
        self._noted_at = now


def _begin(pair: Pair, policy: str, parts: int) -> Walk:
    """Return a new walk whose range of the source is cut into about `parts` of one size."""
    walk = begin(pair, "reindex", policy)
    if not walk.spans or pair.source_size() < parts * SAMPLES:
        return walk
    first, *others = walk.spans
    bounds = list(dict.fromkeys(pair.source_sample(parts * SAMPLES)[SAMPLES::SAMPLES]))
    cut = map(Range, [first.after, *bounds], [*bounds, first.until])
    return replace(walk, spans=(*cut, *others))


def _adopt_policy(client: "MongoClient[dict[str, Any]]", config: SyncConfig, policy: str) -> None:
    """Make `policy` that of the mirror, unless an instance is at work with another one."""
    checkpoints = Checkpoints(client, config.database)
    if checkpoints.policy() in (None, policy):
        return
    if Lease(client, config.database, config.instance, config.lease_ms).is_held():
        raise PermanentError(
            "a running instance mirrors with another anonymisation policy (ANON_*): reload it with these "
            "settings, and it reindexes by itself"
        )
    checkpoints.claim(policy)
