"""Follows the change stream and signals: inserted ids to the scanner, all others to the writer.

It saves the checkpoint once both have acknowledged everything before it (R2). Of several instances one is
active, by lease (R4). A position is taken first, then the fence raised, then the scan asked for (R1).
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import identity, preflight
from procs.anonymise import Anonymiser
from procs.changestream import AWAIT_MS, PATIENCE_S, Batch, ChangeStream, HistoryLost
from procs.checkpoint import Checkpoint, Checkpoints, Position
from procs.config import SyncConfig
from procs.fence import raise_fence
from procs.identity import Identity
from procs.lease import Lease, LeaseLost
from procs.lifeline import Lifeline
from procs.messages import Changed, Drain, Inserted, Scan, ScanKind, split_ids
from procs.mongo import Stopped, connect, ride_out
from procs.outbox import Outbox
from procs.unmirrorable import Unmirrorable

log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0
LOOK_EVERY_S = 1.0
LAST_READ_S = 1.0
"""How long a stop goes on reading a stream that never rests."""

LAST_AWAIT_MS = 50
DRAIN_S = 5.0
"""How long a stop waits for what is still pending: the checkpoint then covers it."""


@dataclass(frozen=True)
class Sent:
    """One batch on its way: done when both pipes have acknowledged up to these numbers."""

    checkpoint: Checkpoint
    to_scanner: int
    to_writer: int
    ids: int
    at: float


def run(
    life: Lifeline[SyncConfig], inserted: "Connection[Any, Any]", changed: "Connection[Any, Any]"
) -> None:
    """Be the listener until a stop is asked for. Raises PermanentError."""
    with connect(life.config.database, "listener", PATIENCE_S) as client:
        scanner, writer = Outbox(inserted), Outbox(changed)
        try:
            ride_out(life, lambda: preflight.require(client, life.config.database))
            while not Listener(life, client, scanner, writer).take_a_turn():
                pass
        except Stopped:
            return
        except (EOFError, BrokenPipeError):
            life.outlive_partner()


class Listener:
    """One turn: reads one stream; remembers what is under way, and the newest checkpoint that is done."""

    def __init__(
        self,
        life: Lifeline[SyncConfig],
        client: "MongoClient[dict[str, Any]]",
        scanner: Outbox,
        writer: Outbox,
    ) -> None:
        config = life.config
        self._life, self._client, self._database = life, client, config.database
        self._scanner, self._writer = scanner, writer
        self._lease = Lease(client, config.database, f"{config.instance}@{config.node}", config.lease_ms)
        self._checkpoints = Checkpoints(client, config.database)
        self._unmirrorable = Unmirrorable(client, config.database)
        self._policy = Anonymiser(config.policy).fingerprint
        self._stream: ChangeStream | None = None
        self._position: Position | None = None
        self._behind = False
        self._identity = Identity()
        self._source_missing = False
        self._scan_due: ScanKind | None = None
        self._under_way: deque[Sent] = deque()
        self._done: Checkpoint | None = None
        self._saved: Checkpoint | None = None
        self._saved_at = self._renewed_at = self._looked_at = float("-inf")

    def take_a_turn(self) -> bool:
        """Stand by, lead, drain; return whether it ended by a stop, and not because the lease was lost."""
        try:
            self.stand_by()
            self.lead()
            self.drain()
        except LeaseLost:
            log.warning("another instance is active on the stream now", extra={"event": "lease_lost"})
            self._life.beat("standby")
            self._life.wait(self._life.config.lease_ms / 3000)
            return False
        finally:
            self._close()
        return True

    def stand_by(self) -> None:
        """Wait until this instance may be active."""
        while not ride_out(self._life, self._lease.acquire):
            self._life.beat("standby", ready=True)
            self._life.wait(self._life.config.lease_ms / 3000)
            if self._life.stopping:
                raise Stopped
        self._renewed_at = time.monotonic()
        log.info("active on the stream", extra={"event": "lease_acquired", "term": self._lease.term})

    def lead(self) -> None:
        """Follow the stream until a stop is asked for."""
        claim = partial(self._checkpoints.claim, self._policy, self._lease.term)
        claimed, checkpoint = ride_out(self._life, claim)
        if not claimed:
            raise LeaseLost
        now = ride_out(self._life, partial(identity.look, self._client, self._database))
        if checkpoint is None:
            self._scan_due = "catch-up"
        else:
            self._go_on_from(checkpoint, now)
        self._identity, self._source_missing = now, self._source_missing or now.source is None
        ride_out(self._life, self._open)
        self._ask_for_scan()
        self._life.beat("catching up" if self._behind else "live", ready=True)
        while not self._life.stopping:
            batch = ride_out(self._life, self._read)
            self._life.beat("catching up" if self._behind else "live")
            if self._scan_due:
                self._ask_for_scan()
            self._forward(batch)
            self._keep_up()
            self._life.wait(0)

    def drain(self) -> None:
        """Have all that has happened mirrored now, save the checkpoint behind it, hand the lease on."""
        self._life.beat("draining")
        deadline = time.monotonic() + LAST_READ_S
        while time.monotonic() < deadline:
            batch = ride_out(self._life, partial(self._read, LAST_AWAIT_MS))
            self._forward(batch)
            if not (batch.inserted or batch.changed):
                break
        if self._scan_due:  # the history was lost, or the source dropped, in this very moment
            self._ask_for_scan()
        for outbox in (self._scanner, self._writer):
            self._send(outbox, Drain)
        deadline = time.monotonic() + DRAIN_S
        while self._under_way and time.monotonic() < deadline:
            self._wait_for_acknowledgements()
        ride_out(self._life, self._save)
        ride_out(self._life, self._lease.release)

    def _go_on_from(self, checkpoint: Checkpoint, now: Identity) -> None:
        was = checkpoint.identity
        self._position, self._source_missing = checkpoint.position, checkpoint.source_missing
        if self._source_missing and self._life.config.on_drop == "empty":
            self._scan_due = "reindex"
        if checkpoint.reindex_due:
            self._reindex("the anonymisation policy has changed", "policy_changed")
        if was.source and now.source not in (None, was.source):
            self._reindex("SOURCE_COLLECTION was dropped and made again", "source_replaced")
            self._position = None
        if was.mirror and now.mirror != was.mirror:
            self._reindex("MIRROR_COLLECTION was dropped or replaced", "mirror_replaced")

    def _look(self) -> None:
        """Notice what no event tells: a source that is there (again), a mirror that is not the one it was."""
        was, now = self._identity, identity.look(self._client, self._database)
        self._identity, self._looked_at = now, time.monotonic()
        self._life.beat(unmirrorable=self._unmirrorable.count())
        if was.mirror and now.mirror != was.mirror:
            self._reindex("MIRROR_COLLECTION was dropped or replaced", "mirror_replaced")
        if self._source_missing and now.source:
            self._source_missing = False
            self._reindex("SOURCE_COLLECTION is there", "source_found", logging.INFO)

    def _reindex(self, why: str, event: str, level: int = logging.WARNING) -> None:
        log.log(level, "%s: a reindex follows", why, extra={"event": event})
        self._scan_due = self._scan_due or "reindex"

    def _open(self) -> ChangeStream:
        """Return the stream, opened at the newest position if it is not open."""
        if self._stream is None:
            self._behind = self._position is not None
            try:
                self._stream = ChangeStream(self._client, self._database, self._position)
            except HistoryLost as lost:
                self._start_over(lost)
                self._stream = ChangeStream(self._client, self._database, None)
            self._position = self._stream.position
        return self._stream

    def _read(self, await_ms: int = AWAIT_MS) -> Batch:
        try:
            stream = self._open()
            if not self._behind:
                return stream.next_batch(await_ms)
            self._life.beat(allowed_silence_s=PATIENCE_S)
            with self._lease.held():
                batch = stream.next_batch(await_ms)
            self._behind = batch.full
            self._life.beat()
            return batch
        except HistoryLost as lost:
            self._close()
            self._start_over(lost)
            return self._open().next_batch()
        except PyMongoError:
            self._close()
            raise

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _start_over(self, lost: HistoryLost) -> None:
        """Go on from a new position; the scan that must follow repairs what was missed (R3)."""
        log.error(
            "the history behind the checkpoint is lost (code %s): a reindex runs while mirroring goes on",
            lost.code,
            extra={"event": "history_lost", "code": lost.code},
        )
        self._position, self._done, self._scan_due = None, None, "reindex"
        self._under_way.clear()

    def _ask_for_scan(self) -> None:
        """Position, then fence, then scan: it reads nothing older than where the stream begins."""
        self._wait_out(ride_out(self._life, lambda: raise_fence(self._client, self._database)))
        kind, self._scan_due = self._scan_due, None
        self._send(self._scanner, partial(Scan, kind=kind, term=self._lease.term))
        self._note_sent(ids=0)

    def _wait_out(self, seconds: float) -> None:
        if seconds:
            log.warning(
                "the sessions of another MongoDB user cannot be ended, so the scan waits for %.0f s: "
                "give all instances the same user, or this one the right killAnySession",
                seconds,
                extra={"event": "fence_waits"},
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._life.wait(1.0)
            self._keep_up()
            if self._life.stopping:
                raise Stopped

    def _forward(self, batch: Batch) -> None:
        for part in split_ids(batch.inserted):
            self._send(self._scanner, partial(Inserted, ids=part))
        for part in split_ids(batch.changed):
            self._send(self._writer, partial(Changed, ids=part))
        self._position = batch.position
        if batch.invalidated:
            self._close()
            self._source_missing = True
            keep = self._life.config.on_drop == "keep"
            self._scan_due = None if keep else "reindex"
            log.warning(
                "SOURCE_COLLECTION was dropped or renamed: the mirror %s (SYNC_ON_DROP)",
                "stays as it was until it is there again" if keep else "is emptied",
                extra={"event": "source_dropped"},
            )
        self._note_sent(ids=len(batch.inserted) + len(batch.changed))

    def _send(self, outbox: Outbox, message: Callable[[int], object]) -> None:
        stuck_since = time.monotonic()
        while outbox.full:
            self._wait_for_acknowledgements()
            if not self._life.stopping:
                stuck_since = time.monotonic()
            elif time.monotonic() - stuck_since > DRAIN_S:
                raise Stopped
        outbox.send(message)

    def _wait_for_acknowledgements(self) -> None:
        self._life.wait(1.0, self._scanner.pipe, self._writer.pipe)
        self._keep_up()

    def _note_sent(self, ids: int) -> None:
        """Everything up to the present position is on its way; the checkpoint may follow once it is done."""
        assert self._position is not None
        if self._scan_due:
            return  # a scan belongs to it
        checkpoint = Checkpoint(self._position, self._identity, self._source_missing)
        if not ids and self._under_way and self._under_way[-1].ids == 0:
            self._under_way.pop()  # an idle stream moves on: only the newest position counts
        self._under_way.append(Sent(checkpoint, self._scanner.sent, self._writer.sent, ids, time.monotonic()))

    def _keep_up(self) -> None:
        """Take acknowledgements, save the checkpoint and renew the lease where due."""
        for outbox in (self._scanner, self._writer):
            outbox.take_acknowledgements()
        while self._under_way and self._is_done(self._under_way[0]):
            self._done = self._under_way.popleft().checkpoint
        now = time.monotonic()
        if now - self._renewed_at >= self._life.config.lease_ms / 3000:
            ride_out(self._life, self._lease.renew)
            self._renewed_at = now
        if now - self._looked_at >= LOOK_EVERY_S:
            ride_out(self._life, self._look)
        if now - self._saved_at >= SAVE_EVERY_S:
            ride_out(self._life, self._save)
        oldest = self._under_way[0].at if self._under_way and self._pending() else now
        self._life.beat(pending=self._pending(), lag_ms=round((now - oldest) * 1000))

    def _pending(self) -> int:
        return sum(sent.ids for sent in self._under_way)

    def _is_done(self, sent: Sent) -> bool:
        return self._scanner.done >= sent.to_scanner and self._writer.done >= sent.to_writer

    def _save(self) -> None:
        """Store the newest position whose effect is there; a newer term makes this instance step back."""
        if self._done is None or self._done == self._saved:
            return
        if not self._checkpoints.save(self._done, self._lease.term):
            raise LeaseLost
        self._saved, self._saved_at = self._done, time.monotonic()
