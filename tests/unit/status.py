"""A whole status, as `status --json` tells it."""

import copy
from typing import Any

CHILD = {"name": "writer", "pid": 7, "state": "running", "restarts": 2, "uptime_s": 12.5, "phase": "live"}
BUCKETS = [[0.005, 1], [0.1, 3], ["+Inf", 4]]

STATUS: dict[str, Any] = {
    "version": 2,
    "clientsync": "1.2.3",
    "instance": "first",
    "mode": "all",
    "pid": 5,
    "health": "healthy",
    "healthy": True,
    "reason": "",
    "time": "2026-01-02T03:04:05.500+00:00",
    "children": [
        CHILD | {"work": 9, "gauges": {}, "last_death": None},
        CHILD | {"name": "web", "pid": None, "state": "backoff", "uptime_s": None},
    ],
    "sync": {"phase": "live", "lag_s": 0.25, "pending": 3, "unmirrorable": 1, "mirrored_total": 99},
    "stream": {
        "position_time": "2026-01-02T03:04:05+00:00",
        "checkpoint_age_s": 1.5,
        "oplog_window_s": 7200.0,
        "oplog_size_s": 7201.5,
        "lease": {"holder": "first@here", "term": 4, "ours": True, "held": True},
        "standbys": ["second@there", "third@there"],
    },
    "scan": {"kind": "reindex", "scanned": 25, "total": 100, "rate": 5.0, "left_s": 15.0},
    "verify": {
        "at": "2026-01-02T00:00:00+00:00",
        "missing": 1,
        "stale": 2,
        "orphaned": 0,
        "unmirrorable": 1,
        "compared": 50,
        "seconds": 2.5,
        "repaired": 0,
    },
    "counters": {
        "child_restarts": {"child=writer,cause=SIGKILL": 1, "child=writer,cause=exit code 1": 1},
        "customers_mirrored": {"result=inserted": 80, "result=replaced": 19},
        "stream_events": {"kind=insert": 81, "kind=change": 20},
        "transactions": {"child=writer": 12},
        "transaction_conflicts": {"child=writer": 2},
        "mongodb_retries": {"child=listener": 3},
        "fences": {"": 1},
        "history_lost": {"": 0},
        "customers_generated": {"": 500},
        "of_the_future": {"": 1},
    },
    "histograms": {
        "transaction_duration_seconds": {"child=writer": {"buckets": BUCKETS, "sum": 0.4, "count": 4}},
        "flush_duration_seconds": {"child=scanner": {"buckets": BUCKETS, "sum": 0.4, "count": 4}},
    },
    "deaths": [],
}


def status(**changed: Any) -> dict[str, Any]:
    """Return a copy in which some parts are others."""
    return {**copy.deepcopy(STATUS), **changed}
