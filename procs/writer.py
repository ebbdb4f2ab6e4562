"""Mirrors changed customers at once, in batches as large as what is waiting."""

from multiprocessing.connection import Connection
from typing import Any

from procs.config import SyncConfig
from procs.flush import flush_batch
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.messages import AHEAD
from procs.mirror import open_mirror
from procs.mongo import Stopped, connect, ride_out
from procs.side_by_side import SideBySide

FOLLOWS_S = 0.2
"""While the stream is behind, customers wait so long for the next message, or until the next beat: see
`Inbox.settled`.
"""

ENOUGH = AHEAD // 2
"""After so many messages nobody waits for more."""


def run(life: Lifeline[SyncConfig], changed: "Connection[Any, Any]") -> None:
    """Be the writer until a stop is asked for; what is in the pipe by then is still mirrored."""
    config = life.config
    inbox = Inbox(changed)
    with connect(config.database, "writer") as client:
        mirror = open_mirror(client, config, life)
        both = SideBySide(life, client, mirror)
        try:
            ride_out(life, mirror.prepare)
            life.beat("live", ready=True)
            while not (life.stopping and inbox.empty):
                while inbox.receive():
                    pass
                count = _to_mirror(life, inbox)
                if count is None:
                    continue
                if inbox.unacknowledged:
                    flush_batch(life, both, inbox, min(count, 2 * life.config.batch_size))
                rest_s = life.config.rest_s
                life.wait(0.0 if inbox.ids or life.stopping else rest_s, *inbox.pipes, rest_s=rest_s)
        except Stopped:
            return
        finally:
            both.close()
            mirror.close()


def _to_mirror(life: Lifeline[SyncConfig], inbox: Inbox) -> int | None:
    """Return how many of the waiting customers to mirror now; None: take in first what has come meanwhile."""
    if life.stopping or not (inbox.more and inbox.unacknowledged):
        return len(inbox.ids)
    inbox.acknowledge()  # of what was read: the listener goes on meanwhile
    settled = inbox.settled
    if settled >= life.config.batch_size or inbox.unacknowledged >= ENOUGH:
        return settled
    if life.wait(FOLLOWS_S, *inbox.pipes):
        return None
    inbox.more = False  # as far as we know: what is left does not wait again
    return len(inbox.ids)
