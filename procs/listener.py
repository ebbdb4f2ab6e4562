"""Follows the change stream and signals: inserted ids to the scanner, all others to the writer.

It saves the checkpoint once both have acknowledged everything before it (R2). Of several instances one is
active, by lease (R4). A position is taken first, then the fence raised, then the scan asked for (R1).
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import identity, preflight
from procs.anonymise import Anonymiser
from procs.changestream import PATIENCE_S, Batch, ChangeStream, HistoryLost
from procs.checkpoint import Checkpoint, Checkpoints, Position
from procs.config import SyncConfig
from procs.fence import raise_fence
from procs.identity import Identity
from procs.lease import Lease, LeaseLost
from procs.lifeline import Lifeline
from procs.messages import Changed, Drain, Inserted, Scan, ScanKind, split_ids
from procs.mongo import Stopped, connect, ride_out
from procs.outbox import Outbox
from procs.outlook import Lookout
from procs.pair import Pair
from procs.prepare import prepare
from procs.under_way import UnderWay
from procs.unmirrorable import Unmirrorable

log = logging.getLogger(__name__)

SAVE_EVERY_S, SAVE_IDLE_EVERY_S = 1.0, 2.0
LOOK_EVERY_S, LOOK_FOR_SOURCE_EVERY_S = 5.0, 1.0
LAST_READ_S = 1.0
"""How long a stop goes on reading a stream that never rests."""

LAST_AWAIT_MS = 50
DRAIN_S = 5.0
"""How long a stop waits for what is still pending: the checkpoint then covers it."""


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
        self._lease = Lease(client, config.database, config.holder, config.lease_ms)
        self._lookout = Lookout(client, config.database, config.holder)
        self._checkpoints = Checkpoints(client, config.database)
        self._unmirrorable = Unmirrorable(client, config.database)
        self._policy = Anonymiser(config.policy).fingerprint
        life.meters.expect("fences", "history_lost")
        self._stream: ChangeStream | None = None
        self._position: Position | None = None
        self._behind = False
        self._identity = Identity()
        self._source_missing = False
        self._scan_due: ScanKind | None = None
        self._under_way = UnderWay(scanner, writer)
        self._unread_s: float | None = None  # how old what is not even read yet may be
        self._done: Checkpoint | None = None
        self._saved: Checkpoint | None = None
        self._idle = False  # nothing was mirrored since the last save
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
            self._lease.close()
        return True

    def stand_by(self) -> None:
        """Wait until this instance may be active."""
        while not ride_out(self._life, self._lease.acquire):
            self._life.beat("standby", ready=True)
            self._tell(standing_by=True)
            self._life.wait(self._life.config.lease_ms / 3000)
            if self._life.stopping:
                self._lookout.leave()
                raise Stopped
        self._lookout.leave()
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
            self._keep_up(1.0)
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
            self._unread_s = None if self._behind else 0.0
            try:
                stream = ChangeStream(self._client, self._database, self._position)
            except HistoryLost as lost:
                self._start_over(lost)
                stream = ChangeStream(self._client, self._database, None)
            if self._position is None:
                # Only now: of a drop that comes after this position the stream will tell.
                there = identity.look(self._client, self._database).source is not None
                self._source_missing = self._source_missing or not there
            self._stream, self._position = stream, stream.position
        return self._stream

    def _read(self, await_ms: int | None = None) -> Batch:
        try:
            stream = self._open()
            if not self._behind:
                return stream.next_batch(await_ms)
            batch = self._lease.hold_during(
                partial(stream.next_batch, await_ms), partial(self._life.beat, allowed_silence_s=PATIENCE_S)
            )
            self._behind = batch.full
            self._life.beat()
            return batch
        except HistoryLost as lost:
            self._close()
            self._start_over(lost)
            # Nothing is read yet: the new position may be lost as well.
            return Batch((), (), self._open().position, invalidated=False)
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
            "the history behind the checkpoint is lost (%s): a reindex runs while mirroring goes on",
            str(lost),
            extra={"event": "history_lost", "code": lost.code},
        )
        self._position, self._done, self._scan_due = None, None, "reindex"
        self._under_way.forget()
        self._life.meters.count("history_lost")

    def _ask_for_scan(self) -> None:
        """Position, then fence, then scan: it reads nothing older than where the stream begins."""
        self._wait_out(ride_out(self._life, lambda: raise_fence(self._client, self._database)))
        self._life.meters.count("fences")
        # The scanner would make a missing mirror too; but then a drop after that could not be told from it.
        ride_out(self._life, partial(prepare, Pair(self._client, self._database)))
        ride_out(self._life, self._look)
        kind, self._scan_due = self._scan_due, None
        self._send(self._scanner, partial(Scan, kind=kind, term=self._lease.term))
        self._note_sent()

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
            self._send(self._writer, partial(Changed, ids=part, more=batch.full))
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
        self._unread_s = batch.age_s if batch.full else 0.0
        self._life.meters.count("stream_events", len(batch.inserted), "kind=insert")
        self._life.meters.count("stream_events", len(batch.changed), "kind=change")
        self._note_sent(len(batch.inserted) + len(batch.changed), batch.age_s)

    def _send(self, outbox: Outbox, message: Callable[[int], object]) -> None:
        stuck_since = time.monotonic()
        while outbox.full:
            self._keep_up(1.0)
            if not self._life.stopping:
                stuck_since = time.monotonic()
            elif time.monotonic() - stuck_since > DRAIN_S:
                raise Stopped
        outbox.send(message)

    def _note_sent(self, ids: int = 0, age_s: float = 0.0) -> None:
        """Everything up to the present position is on its way; the checkpoint may follow once it is done."""
        assert self._position is not None
        if self._scan_due:
            return  # a scan belongs to it
        checkpoint = Checkpoint(self._position, self._identity, self._source_missing)
        self._under_way.note(checkpoint, ids, age_s)

    def _keep_up(self, timeout_s: float = 0.0) -> None:
        """Take acknowledgements and orders, save the checkpoint and renew the lease where due."""
        readable = self._life.wait(timeout_s, self._scanner.pipe, self._writer.pipe)
        for outbox in (self._scanner, self._writer):
            if outbox.pipe in readable:
                outbox.take_acknowledgements()
        done, ids = self._under_way.take_done()
        self._done, self._idle = done or self._done, self._idle and not ids
        now = time.monotonic()
        if now - self._renewed_at >= self._life.config.lease_ms / 3000:
            ride_out(self._life, self._lease.renew)
            self._renewed_at = now
        if now - self._looked_at >= (LOOK_FOR_SOURCE_EVERY_S if self._source_missing else LOOK_EVERY_S):
            ride_out(self._life, self._look)
        if now - self._saved_at >= (SAVE_IDLE_EVERY_S if self._idle else SAVE_EVERY_S):
            ride_out(self._life, self._save)
        self._tell()

    def _tell(self, *, standing_by: bool = False) -> None:
        if self._lookout.due:
            self._life.outlook = self._lookout.look(standing_by=standing_by) or self._life.outlook
        waits_s, age_s = self._under_way.waits_s()
        self._life.beat(
            pending=self._under_way.ids,
            lag_ms=round(waits_s * 1000),
            lag_s=None if self._unread_s is None else round(max(age_s, self._unread_s), 3),
            position_time=self._position.time if self._position else None,
            checkpoint_time=self._saved.position.time if self._saved else None,
        )

    def _save(self) -> None:
        """Store the newest position whose effect is there; a newer term makes this instance step back."""
        if self._done is None or self._done == self._saved:
            return
        if not self._checkpoints.save(self._done, self._lease.term):
            raise LeaseLost
        self._saved, self._saved_at, self._idle = self._done, time.monotonic(), True
