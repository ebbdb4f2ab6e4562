"""What one child counts and times: plain numbers, added up at work and carried by its beats.

A meter is named as its metric, without `clientsync_` and `_total`. Its label is empty or `name=value`, of few
values: never anything of a customer's.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

Counted = Literal[
    "customers_generated",
    "customers_mirrored",
    "fences",
    "history_lost",
    "mongodb_retries",
    "stream_events",
    "transaction_conflicts",
    "transactions",
]
Timed = Literal["flush_duration_seconds", "transaction_duration_seconds"]

BY_CHILD: frozenset[str] = frozenset(
    {
        "flush_duration_seconds",
        "mongodb_retries",
        "transaction_conflicts",
        "transaction_duration_seconds",
        "transactions",
    }
)
"""Told for each child by itself; the others are of the daemon as a whole."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; what took longer comes after the last."""

Key = tuple[str, str]
"""A meter and its label."""


@dataclass(frozen=True, slots=True)
class Times:
    """A histogram: how many times lie between one of BUCKETS and the one before it, and the sum of all."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0

    def __add__(self, other: "Times") -> "Times":
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return Times(counts, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Readings:
    """All meters of a child at one moment of its life."""

    counters: dict[Key, int] = field(default_factory=dict)
    times: dict[Key, Times] = field(default_factory=dict)


class Meters:
    """The meters of one life of one child, all at 0 when it begins."""

    def __init__(self) -> None:
        self._lock = Lock()  # the writer counts in two threads
        self._counters: dict[Key, int] = {}
        self._counts: dict[Key, list[int]] = {}
        self._seconds: dict[Key, float] = {}

    def expect(self, *names: Counted) -> None:
        """Make meters known, as 0, before there is anything to count: else their first step goes unseen."""
        for name in names:
            self.count(name, 0)

    def count(self, name: Counted, by: int = 1, label: str = "") -> None:
        """Add `by`, which may be 0."""
        key = (name, label)
        with self._lock:
            self._counters[key] = self._counters.get(key, 0) + by

    def observe(self, name: Timed, seconds: float) -> None:
        """Note that something took `seconds`."""
        key = (name, "")
        with self._lock:
            if key not in self._counts:
                self._counts[key], self._seconds[key] = [0] * (len(BUCKETS) + 1), 0.0
            self._counts[key][bisect_left(BUCKETS, seconds)] += 1
            self._seconds[key] += seconds

    @contextmanager
    def timed(self, name: Timed) -> Iterator[None]:
        """Note how long the block takes, unless it fails."""
        began = time.monotonic()
        yield
        self.observe(name, time.monotonic() - began)

    def read(self) -> Readings:
        """Return what all meters show now."""
        with self._lock:
            times = {
                key: Times(tuple(counts), round(self._seconds[key], 6))
                for key, counts in self._counts.items()
            }
            return Readings(dict(self._counters), times)
