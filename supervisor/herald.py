"""What the supervisor tells about itself as it goes: systemd's view of it, and an outage of MongoDB, once."""

import logging

from supervisor import health
from supervisor.notify import Notifier
from supervisor.state import State

log = logging.getLogger(__name__)

EXTEND_EVERY_S = 5.0
EXTEND_BY_S = 30.0
"""While a start takes long, systemd is asked for so much more time, again and again."""
STOP_MARGIN_S = 5.0


class Herald:
    """Looks at the state after each round of the loop and tells what has changed."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._was_ready = False
        self._was_stopping = False
        self._outage = False
        self._extended_at = float("-inf")

    def tell(self, state: State, phase: str | None, mongo_uri: str, now: float) -> None:
        """Tell what is new. `mongo_uri` is without its password."""
        self._tell_outage(state, mongo_uri)
        # First of all: whoever waits for the start looks at it next.
        self._notifier.status(self._status(state, phase, mongo_uri))
        if state.stop is not None:
            if not self._was_stopping:
                self._was_stopping = True
                self._notifier.stopping()
                self._notifier.extend(state.limits.stop_s + STOP_MARGIN_S)
        elif not self._was_ready:
            self._tell_start(state, now)
        self._notifier.watchdog()

    def reload_begins(self) -> None:
        """Tell systemd of a reload, unless it still waits for the start."""
        if self._was_ready:
            self._notifier.reloading()

    def reload_is_over(self) -> None:
        """Tell systemd that the daemon runs on, whatever came of the reload."""
        if self._was_ready and not self._was_stopping:
            self._notifier.ready()

    def _tell_start(self, state: State, now: float) -> None:
        if health.in_service(state):
            self._was_ready = True
            self._notifier.ready()
        elif now - self._extended_at >= EXTEND_EVERY_S and not health.degraded(state):
            self._extended_at = now
            self._notifier.extend(EXTEND_BY_S)

    def _tell_outage(self, state: State, mongo_uri: str) -> None:
        if health.waiting(state):
            if not self._outage:
                self._outage = True
                log.warning(
                    "MongoDB cannot be reached at %s: waiting for it; `clientsync-supervisor check` says why",
                    mongo_uri,
                    extra={"event": "mongodb_unreachable", "mongo_uri": mongo_uri},
                )
        elif self._outage and health.running(state):
            self._outage = False
            log.info("MongoDB is back", extra={"event": "mongodb_reachable", "mongo_uri": mongo_uri})

    def _status(self, state: State, phase: str | None, mongo_uri: str) -> str:
        if state.stop is not None:
            return "stopping"
        if health.waiting(state):
            return f"waiting for MongoDB at {mongo_uri}"
        trouble = health.trouble(state, phase)
        return trouble or f"at work{f', mirror {phase}' if phase else ''}"
