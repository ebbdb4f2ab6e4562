"""What `status --json` tells, field by field in docs/status.md."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from procs.messages import Beat, Gauge
from supervisor import STATUS_VERSION, __version__, health
from supervisor.child import Running
from supervisor.ledger import Death
from supervisor.state import ChildState, State
from supervisor.sums import Sums
from supervisor.tree import Mode

DEATHS_SHOWN = 5

OUTLOOK_LASTS_S = 30.0
"""The listener asks the server every 10 s; what it was told longer ago may not be so any more."""

SILENT_S = 2.5
"""A listener silent for so long is stopped, hangs, or waits for an answer, and sees nothing meanwhile."""

LAG_KNOWN_IN = {"live", "catching up", "catch-up", "reindex"}
"""The phases of the sync in which the listener reads the stream."""

VERIFIED = ("at", "compared", "missing", "stale", "orphaned", "unmirrorable", "seconds", "repaired")

Gauges = Mapping[str, Gauge]


@dataclass(frozen=True)
class Seen:
    """All that a status is made of. `mongo_uri` is already without its password."""

    state: State
    running: Mapping[str, Running]
    last: Mapping[str, Beat]
    """The last beat of each child that has died: what it knew may still be so."""
    deaths: Sequence[Death]
    sums: Sums
    instance: str
    mode: Mode
    mongo_uri: str

    def beat(self, child: str) -> Beat | None:
        """Return the newest beat of a child that lives."""
        return self.running[child].beat if child in self.running else None

    def gauges(self, child: str) -> Gauges:
        """Return the newest figures of a child; empty if it has told none."""
        beat = self.beat(child)
        return beat.gauges if beat else {}


def assemble(seen: Seen) -> dict[str, Any]:
    """Return the whole status."""
    now, phase = time.monotonic(), health.sync_phase(seen.state)
    trouble = health.trouble(seen.state, phase)
    beats = {name: child.beat for name, child in seen.running.items() if child.beat}
    counters = seen.sums.counters(beats)
    return {
        "version": STATUS_VERSION,
        "clientsync": __version__,
        "instance": seen.instance,
        "mode": seen.mode.value,
        "pid": os.getpid(),
        "mongo_uri": seen.mongo_uri,
        "time": _iso(time.time()),
        "health": health.word(seen.state, phase),
        "healthy": not trouble,
        "reason": trouble,
        "children": [_child(seen, child) for child in health.wanted(seen.state)],
        "sync": _sync(seen.gauges("listener"), phase, counters, _lag(seen, now)),
        "stream": _stream(seen, now),
        "scan": _scan(seen),
        "verify": _verify(seen.gauges("verifier")),
        "rates": seen.sums.rates(beats, now),
        "counters": counters,
        "histograms": seen.sums.histograms(beats),
        "deaths": [*seen.deaths[-DEATHS_SHOWN:]],
    }


def _child(seen: Seen, child: ChildState) -> dict[str, Any]:
    process = seen.running.get(child.name)
    beat = process.beat if process else None
    last = next((death for death in reversed(seen.deaths) if death["child"] == child.name), None)
    return {
        "name": child.name,
        "pid": process.pid if process else None,
        "state": health.condition(seen.state, child),
        "restarts": child.restarts,
        "uptime_s": round(time.monotonic() - process.born_at, 1) if process else None,
        "phase": beat.phase if beat else child.phase,
        "work": beat.work if beat else 0,
        "gauges": beat.gauges if beat else {},
        "last_death": last and {name: last[name] for name in ("time", "cause", "phase", "reason")},
    }


def _lag(seen: Seen, now: float) -> float | None:
    """Return how old the oldest change that is not mirrored yet is, as old as it can be by now."""
    told = _number(seen.gauges("listener").get("lag_s"))
    if told is None:
        return None
    silent_s = now - seen.running["listener"].beat_at
    return told if silent_s <= SILENT_S else round(told + silent_s, 3)


def _sync(
    listener: Gauges, phase: str | None, counters: Mapping[str, Mapping[str, int]], lag_s: float | None
) -> dict[str, Any]:
    """Return the figures of the sync as a whole; the phase is None where this daemon does not mirror."""
    return {
        "phase": phase,
        "pending": listener.get("pending"),
        "unmirrorable": listener.get("unmirrorable"),
        "lag_ms": listener.get("lag_ms"),
        "lag_s": lag_s if phase in LAG_KNOWN_IN else None,
        "mirrored_total": sum(counters.get("customers_mirrored", {}).values()),
    }


def _stream(seen: Seen, now: float) -> dict[str, Any] | None:
    """Return where the listener is in the stream, by the server's clock; what is not known is None."""
    if "listener" not in seen.state.children:
        return None
    beat = seen.beat("listener")
    beats = [each for each in (beat, seen.last.get("listener")) if each]
    outlook = next((each.outlook for each in beats if each.outlook), None)
    position = _number(seen.gauges("listener").get("position_time"))
    checkpoint = next((time for time in map(_checkpoint_time, beats) if time is not None), None)
    server_time = outlook.server_time + now - outlook.asked_at if outlook else None
    age = None if checkpoint is None or server_time is None else max(0.0, server_time - checkpoint)
    fresh = outlook if outlook and now - outlook.asked_at <= OUTLOOK_LASTS_S else None
    first, last = (fresh.oplog_first, fresh.oplog_last) if fresh else (None, None)
    # The checkpoint is told at once, the oplog is looked at seldom.
    newest = last if last is None or checkpoint is None else max(last, checkpoint)
    lease = fresh if beat and beat.outlook else None  # of one that has died it is not known who has it now
    return {
        "position_time": None if position is None else _iso(position),
        "checkpoint_time": None if checkpoint is None else _iso(checkpoint),
        "checkpoint_age_s": None if age is None else round(age, 1),
        "oplog_window_s": _between(first, checkpoint),
        "oplog_size_s": _between(first, newest),
        "lease": {
            "holder": lease and lease.holder,
            "term": lease and lease.term,
            "ours": lease and lease.ours,
            "held": lease and lease.held,
        },
        "standbys": list(lease.standbys) if lease else None,
    }


def _checkpoint_time(listener: Beat) -> int | float | None:
    """Return the time of what it has stored, or found stored: it stands by, or was started just now."""
    stored = _number(listener.gauges.get("checkpoint_time"))
    return listener.outlook.checkpoint_time if stored is None and listener.outlook else stored


def _scan(seen: Seen) -> dict[str, Any] | None:
    """Return how far a running scan is; the total is an estimate."""
    for child in ("scanner", "reindexer"):
        gauges = seen.gauges(child)
        kind = "full" if child == "reindexer" else gauges.get("scan")
        scanned, total, rate = (_number(gauges.get(name)) for name in ("scanned", "total", "rate"))
        if kind and scanned is not None:
            left = max(0.0, total - scanned) / rate if total is not None and rate else None
            return {
                "kind": kind,
                "scanned": scanned,
                "total": total,
                "rate": rate,
                "left_s": None if left is None else round(left, 1),
            }
    return None


def _verify(verifier: Gauges) -> dict[str, Any] | None:
    """Return what the last scheduled verify found."""
    return {name: verifier.get(name) for name in VERIFIED} if verifier.get("at") else None


def _between(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(0.0, float(last - first))


def _number(gauge: Gauge) -> int | float | None:
    return gauge if isinstance(gauge, int | float) else None


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
