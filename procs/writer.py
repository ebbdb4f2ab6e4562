"""Mirrors changed customers at once, in batches as large as what is waiting."""

from multiprocessing.connection import Connection
from typing import Any

from procs.config import SyncConfig
from procs.flush import flush_batch
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.mirror import open_mirror
from procs.mongo import Stopped, connect, ride_out
from procs.side_by_side import SideBySide

IDLE_S = 1.0

COLLECTED, FOLLOWS_S = 16, 0.2
"""While the stream is behind, so many messages are collected, if each follows within this time: one who
changed several times is mirrored once. The listener needs no answer before it has sent WINDOW of them.
"""


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
                if inbox.more and 0 < inbox.unacknowledged < COLLECTED and life.wait(FOLLOWS_S, *inbox.pipes):
                    continue
                if inbox.unacknowledged:
                    flush_batch(life, both, inbox, batches=2)
                life.wait(0.0 if inbox.ids else IDLE_S, *inbox.pipes)
        except Stopped:
            return
        finally:
            both.close()
            mirror.close()
