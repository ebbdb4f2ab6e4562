"""Mirrors changed customers at once, in batches as large as what is waiting."""

from multiprocessing.connection import Connection
from typing import Any

from procs.anonymise import Anonymiser
from procs.config import SyncConfig
from procs.flush import flush
from procs.inbox import Inbox
from procs.lifeline import Lifeline
from procs.mirror import Copied, Mirror
from procs.mongo import Stopped, connect, ride_out

IDLE_S = 1.0


def run(life: Lifeline[SyncConfig], changed: "Connection[Any, Any]") -> None:
    """Be the writer until a stop is asked for; what is in the pipe by then is still mirrored."""
    config = life.config
    inbox = Inbox(changed)
    total = Copied()
    with connect(config.database, "writer") as client:
        anonymiser = Anonymiser(config.policy)
        mirror = Mirror(
            client,
            config.database,
            anonymiser,
            keep=config.on_drop == "keep",
            policy=anonymiser.fingerprint,
            beat=life.beat,
        )
        try:
            ride_out(life, mirror.prepare)
            life.beat("live", ready=True)
            while not (life.stopping and inbox.empty):
                while len(inbox.ids) < life.config.batch_size and inbox.receive():
                    pass
                if inbox.unacknowledged:
                    total += flush(life, mirror, inbox)
                life.beat(mirrored_total=total.scanned + total.deleted)
                life.wait(IDLE_S, *inbox.pipes)
        except Stopped:
            return
        finally:
            mirror.close()
