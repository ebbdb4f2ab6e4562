"""The scheduled verify: compares all of source and mirror, says what is wrong, and mends it if it is told to.

It runs where the lease is held, and rests for as long as it works, so that the mirror keeps its pace. A run
that is interrupted begins again: the schedule moves on only once a run has come to its end.
"""

import logging
import os
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import identity, preflight
from procs.config import VerifierConfig
from procs.errors import describe
from procs.lease import Lease, LeaseLost
from procs.lifeline import Lifeline
from procs.mirror import SourceMissing, open_mirror
from procs.mongo import Stopped, connect, is_transient, is_unavailable, permanent, ride_out
from procs.schedule import Schedule
from procs.verify import Findings, Verdict, Verification, parts

log = logging.getLogger(__name__)

NICENESS = 10

LOOK_EVERY_S = 3.0
"""How often to look whether a run is due, and for whom."""

AGAIN_S = 30.0
"""How long after an interruption it begins again."""

CHECK_EVERY_S = 1.0
REPAIR_AT_ONCE = 100
"""Customers in one transaction of a repair: the mirror's own copies seldom meet one so short."""


class _Void(Exception):
    """A collection was dropped or made again: what was found meanwhile says nothing."""


def run(life: Lifeline[VerifierConfig]) -> None:
    """Be the verifier until a stop is asked for. Raises PermanentError, TemporaryError."""
    with suppress(OSError):  # a hardened systemd unit forbids it
        os.nice(NICENESS)
    with connect(life.config.database, "verifier") as client, suppress(Stopped):
        ride_out(life, lambda: preflight.require(client, life.config.database))
        verifier = Verifier(life, client)
        while not life.stopping:
            verifier.round()


class Verifier:
    """Waits until a run is due, and does it."""

    def __init__(self, life: Lifeline[VerifierConfig], client: "MongoClient[dict[str, Any]]") -> None:
        config = life.config
        self._life, self._client = life, client
        self._me = config.holder
        self._lease = Lease(client, config.database, self._me, config.lease_ms)
        self._schedule = Schedule(client, config.database)
        self._compared = identity.Identity()
        self._looked_at = self._worked_since = time.monotonic()

    def round(self) -> None:
        """Publish what the last run found; begin one if it is due here, else wait."""
        every_s = self._life.config.every_s
        left_s, figures = ride_out(self._life, partial(self._schedule.look, every_s))
        self._life.beat(**figures)
        if ride_out(self._life, self._lease.current_holder) != self._me:
            self._wait("standby", LOOK_EVERY_S)
        elif left_s > 0:
            self._wait("idle", min(left_s, LOOK_EVERY_S))
        elif ride_out(self._life, self._source_is_awaited):
            self._wait("idle", LOOK_EVERY_S)
        else:
            self._attempt()

    def _source_is_awaited(self) -> bool:
        """Whether there is nothing to compare a mirror with that is kept."""
        config = self._life.config
        return config.on_drop == "keep" and identity.look(self._client, config.database).source is None

    def _wait(self, phase: str, seconds: float) -> None:
        config, until = self._life.config, time.monotonic() + seconds
        self._life.beat(phase, ready=True)
        while time.monotonic() < until and not self._life.stopping and self._life.config == config:
            self._life.wait(until - time.monotonic())

    def _attempt(self) -> None:
        """Verify; what interrupts it leaves it due."""
        self._life.beat("verifying", ready=True)
        self._looked_at = self._worked_since = time.monotonic()
        try:
            self._verify()
        except (LeaseLost, SourceMissing, Stopped, _Void) as reason:
            self._tell_interrupted(type(reason).__name__)
        except PyMongoError as error:
            if told := permanent(error):
                raise told from None
            if not (is_unavailable(error) or is_transient(error)):
                raise
            self._tell_interrupted(describe(error))
        finally:
            self._life.beat(checked=None)

    def _tell_interrupted(self, reason: str) -> None:
        log.info("verify interrupted (%s): it begins again", reason, extra={"event": "verify_interrupted"})
        self._wait("idle", AGAIN_S)

    def _verify(self) -> None:
        began, config = time.monotonic(), self._life.config
        verification = Verification(self._client, config, self._rest, patient=True)
        self._compared = identity.look(self._client, config.database)
        verification.settle()
        findings = verification.find(lambda compared: self._life.beat(checked=compared))
        self._check_compared()
        seconds = round(time.monotonic() - began, 1)
        _tell(findings.verdict, seconds, repair=config.repair)
        repaired = self._repair(verification, findings) if config.repair and findings.wrong else 0
        self._schedule.note({**asdict(findings.verdict), "seconds": seconds, "repaired": repaired})

    def _repair(self, verification: Verification, findings: Findings) -> int:
        """Copy what is wrong again, in the order of all writers; return how many are right then."""
        mirror = open_mirror(self._client, self._life.config, self._life)
        try:
            for part in parts(findings.wrong, REPAIR_AT_ONCE):
                mirror.copy_ids(part)
                self._rest(0)
        finally:
            mirror.close()
        repaired = len(findings.wrong) - len(verification.still_wrong(findings.wrong))
        left = findings.verdict.wrong - repaired
        log.warning(
            "customers copied again: %d are right now, %d are not",
            repaired,
            left,
            extra={"event": "verify_repaired", "repaired": repaired, "left": left},
        )
        return repaired

    def _rest(self, seconds: float) -> None:
        """Rest for as long as there was work since the last time, `seconds` at least.

        Raises Stopped, LeaseLost as soon as another instance is active, or _Void.
        """
        now = time.monotonic()
        until = now + max(seconds, now - self._worked_since)
        while True:
            self._life.wait(until - time.monotonic())
            if self._life.stopping:
                raise Stopped
            if time.monotonic() >= until:
                break
        if now - self._looked_at >= CHECK_EVERY_S:
            # Nobody: its own listener is being replaced, and takes it again.
            if self._lease.current_holder() not in (self._me, None):
                raise LeaseLost
            self._check_compared()
            self._looked_at = now
        self._worked_since = time.monotonic()

    def _check_compared(self) -> None:
        """Raise _Void if source or mirror is not the collection any more that it was when this began."""
        if identity.look(self._client, self._life.config.database) != self._compared:
            raise _Void


def _tell(verdict: Verdict, seconds: float, *, repair: bool) -> None:
    """Log what was found: first of all, for a repair that is killed leaves no trace of it."""
    figures = {**asdict(verdict), "seconds": seconds}
    if verdict.wrong:
        log.error(
            "the mirror differs from the source: %d missing, %d stale, %d orphaned of %d customers; %s",
            verdict.missing,
            verdict.stale,
            verdict.orphaned,
            verdict.compared,
            "they are copied again (VERIFY_REPAIR)" if repair else "VERIFY_REPAIR=true has them copied again",
            extra={"event": "verify_differs", **figures},
        )
    elif verdict.unmirrorable:
        log.warning(
            "the mirror is what it should be, but for %d customers that it refuses",
            verdict.unmirrorable,
            extra={"event": "verify_unmirrorable", **figures},
        )
    else:
        log.info("the mirror is what it should be", extra={"event": "verify_clean", **figures})
