"""Mirrors what an inbox holds, then acknowledges it: the one way from a signal to its effect."""

from functools import partial

from procs.config import SyncConfig
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.mirror import Mirror, SourceMissing
from procs.mongo import ride_out
from procs.side_by_side import SideBySide


def flush(life: Lifeline[SyncConfig], mirror: Mirror, inbox: Inbox) -> None:
    """Copy all waiting ids, batch by batch. Raises Stopped."""
    flush_batch(life, mirror, inbox, life.config.batch_size)
    while inbox.ids:
        flush_batch(life, mirror, inbox, life.config.batch_size)


def flush_batch(life: Lifeline[SyncConfig], mirror: Mirror | SideBySide, inbox: Inbox, limit: int) -> None:
    """Copy the ids that wait longest, `limit` at most. Raises Stopped."""
    ids = inbox.take(limit)
    try:
        if ids:
            with life.meters.timed("flush_duration_seconds"):
                ride_out(life, partial(mirror.copy_ids, ids))
    except SourceMissing:
        pass  # it was dropped: the mirror stays as it was until the source is there again
    inbox.acknowledge()
    life.beat()
