"""`--full`: walks the whole source once, beside whatever else is running, and tells what it found."""

import logging
import time
from typing import Any

from pymongo import MongoClient

from procs import preflight
from procs.anonymise import Anonymiser
from procs.checkpoint import Checkpoints
from procs.config import SyncConfig
from procs.errors import PermanentError
from procs.fence import raise_fence
from procs.lease import Lease
from procs.lifeline import Lifeline
from procs.mirror import Mirror
from procs.mongo import Stopped, connect, ride_out
from procs.walk import Walker, Walks, begin

log = logging.getLogger(__name__)


def run(life: Lifeline[SyncConfig]) -> None:
    """Reindex, report the summary and return; a stop in between leaves the walk to the next run."""
    config = life.config
    with connect(config.database, "reindexer") as client:
        anonymiser = Anonymiser(config.policy)
        policy = anonymiser.fingerprint
        mirror = Mirror(
            client,
            config.database,
            anonymiser,
            keep=config.on_drop == "keep",
            policy=policy,
            beat=life.beat,
        )
        walks = Walks(client, config.database, run=f"{config.instance}@{config.node}")
        try:
            ride_out(life, lambda: preflight.require(client, config.database))
            ride_out(life, mirror.prepare)
            ride_out(life, lambda: _adopt_policy(client, config, policy))
            # What a killed run left open would hold its customers for a minute.
            ride_out(life, lambda: raise_fence(client, config.database))
            walk = ride_out(life, lambda: walks.load(policy))
            if walk is None:
                walk = ride_out(life, lambda: begin(mirror, "reindex", policy))
            else:
                log.info("going on with an interrupted reindex", extra={"event": "scan_resumed"})
            walker = Walker(mirror, walks, walk)
            total = ride_out(life, mirror.pair.source_size)
            life.beat("reindex", ready=True, total=total)
            started, scanned_before = time.monotonic(), walk.copied.scanned
            while walker.walk.spans and not life.stopping:
                ride_out(life, lambda: walker.step(life.config.batch_size))
                done = walker.walk.copied
                rate = (done.scanned - scanned_before) / (time.monotonic() - started)
                life.beat(
                    scanned=done.scanned,
                    inserted=done.inserted,
                    replaced=done.replaced,
                    deleted=done.deleted,
                    unchanged=done.unchanged,
                    rate=round(rate),
                )
                life.wait(0)
            if walker.walk.spans:
                ride_out(life, lambda: walks.save(walker.walk))
                return
            ride_out(life, lambda: walks.forget(walker.walk))
            life.finished(walker.walk.summary())
        except Stopped:
            return
        finally:
            mirror.close()


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
