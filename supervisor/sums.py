"""What all lives of all children have counted since the daemon began, and how fast it grows."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from procs.messages import Beat
from procs.meters import BUCKETS, BY_CHILD, Key, Times

RATE_OVER_S = 10.0
RATES = {
    "customers_mirrored": "mirrored",
    "stream_events": "events",
    "customers_generated": "generated",
}
"""The counters that are told in numbers a second, too, and as what."""

CAUSES, RARE = ("SIGKILL", "SIGSEGV", "exit code 1", "hang"), "other"
"""Restarts are counted by these: what else a child dies of, the ledger tells."""

FROM_THE_BEGINNING: dict[str, tuple[Key, ...]] = {
    "generator": (("customers_generated", ""),),
    "listener": (
        ("fences", ""),
        ("history_lost", ""),
        ("stream_events", "kind=insert"),
        ("stream_events", "kind=change"),
    ),
}
"""What may be counted before a first scrape is told as 0: Prometheus sees no rise in what was not there."""

Beats = Mapping[str, Beat]
"""The last beat of each child that lives."""

Number = TypeVar("Number", int, Times)
Told = TypeVar("Told")


class Sums:
    """Keeps what children that are gone have counted; the living tell theirs with each beat."""

    def __init__(self, children: Iterable[str] = ()) -> None:
        self._counters: dict[Key, int] = {}
        for child in children:
            restarts = (_restarts(child, cause) for cause in (*CAUSES, RARE))
            self._counters |= dict.fromkeys((*FROM_THE_BEGINNING.get(child, ()), *restarts), 0)
        self._times: dict[Key, Times] = {}
        self._past: list[tuple[float, dict[str, int]]] = []

    def keep(self, child: str, beat: Beat) -> None:
        """Keep what this life of `child` has counted: it has ended."""
        self._counters = _added(self._counters, _of(child, beat.meters.counters))
        self._times = _added(self._times, _of(child, beat.meters.times))

    def restarted(self, child: str, cause: str) -> None:
        """Count that `child` ended unasked."""
        self._counters = _added(self._counters, {_restarts(child, cause if cause in CAUSES else RARE): 1})

    def counters(self, beats: Beats) -> dict[str, dict[str, int]]:
        """Return the numbers by name and label."""
        total = self._counters
        for child, beat in beats.items():
            total = _added(total, _of(child, beat.meters.counters))
        return _nested(total.items())

    def histograms(self, beats: Beats) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the histograms by name and label: each bucket counts all that took up to its bound."""
        total = self._times
        for child, beat in beats.items():
            total = _added(total, _of(child, beat.meters.times))
        return _nested((key, _cumulated(times)) for key, times in total.items())

    def note(self, beats: Beats, now: float) -> None:
        """Remember what is counted now, for the rates; cheap if called often."""
        if self._past and now - self._past[-1][0] < RATE_OVER_S / 10:
            return
        self._past.append((now, self._totals(beats)))
        while self._past[1:] and self._past[1][0] <= now - RATE_OVER_S:
            self._past.pop(0)

    def rates(self, beats: Beats, now: float) -> dict[str, float]:
        """Return how many a second there were lately; empty where nothing of the kind is counted."""
        totals = self._totals(beats)
        then, before = self._past[0] if self._past else (now, totals)
        seconds = max(now - then, 0.001)
        return {rate: round((total - before.get(rate, 0)) / seconds, 1) for rate, total in totals.items()}

    def _totals(self, beats: Beats) -> dict[str, int]:
        totals: dict[str, int] = {}
        for counters in (self._counters, *(beat.meters.counters for beat in beats.values())):
            for (name, _), number in counters.items():
                if name in RATES:
                    totals[RATES[name]] = totals.get(RATES[name], 0) + number
        return totals


def _restarts(child: str, cause: str) -> Key:
    return "child_restarts", f"child={child},cause={cause}"


def _of(child: str, readings: Mapping[Key, Number]) -> dict[Key, Number]:
    """Return `readings` as they are told of the daemon as a whole."""
    return {
        (name, f"child={child}" if name in BY_CHILD else label): number
        for (name, label), number in readings.items()
    }


def _added(some: Mapping[Key, Number], others: Mapping[Key, Number]) -> dict[Key, Number]:
    return {**some, **{key: some[key] + each if key in some else each for key, each in others.items()}}


def _cumulated(times: Times) -> dict[str, Any]:
    buckets: list[list[float | str]] = []
    count = 0
    bounds: list[float | str] = [*BUCKETS, "+Inf"]
    for bound, number in zip(bounds, times.counts, strict=True):
        count += number
        buckets.append([bound, count])
    return {"buckets": buckets, "sum": round(times.seconds, 6), "count": count}


def _nested(numbers: Iterable[tuple[Key, Told]]) -> dict[str, dict[str, Told]]:
    by_name: dict[str, dict[str, Told]] = {}
    for (name, label), number in sorted(numbers, key=lambda pair: pair[0]):
        by_name.setdefault(name, {})[label] = number
    return by_name
