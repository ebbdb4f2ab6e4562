"""Mirrors what an inbox holds, then acknowledges it: the one way from a signal to its effect."""

from functools import partial
from itertools import islice

from procs.config import SyncConfig
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.mirror import Copied, Mirror, SourceMissing
from procs.mongo import ride_out


def flush(life: Lifeline[SyncConfig], mirror: Mirror, inbox: Inbox) -> Copied:
    """Copy all waiting ids, `batch_size` in a transaction, and acknowledge them. Raises Stopped."""
    copied = Copied()
    waiting = iter(inbox.ids)
    while ids := list(islice(waiting, life.config.batch_size)):
        try:
            copied += ride_out(life, partial(mirror.copy_ids, ids))
        except SourceMissing:
            continue  # it was dropped: the mirror stays as it was until the source is there again
        life.beat()
    inbox.acknowledge()
    return copied
