"""When a daemon is ready: it is healthy, and not further behind than a setting allows.

An instance that stands by is ready: it would take over within seconds, and whoever replaces instances one by
one must not wait for it to become the active one. A daemon that only generates is ready when it is healthy.
"""

from collections.abc import Mapping
from typing import Any

SILENT_S = 5.0
"""The supervisor tells its status every second: after so long, the last one is outdated."""


def silence(silent_s: float | None) -> str:
    """Return why nothing is known, or an empty text. `silent_s` None: nothing was told yet."""
    if silent_s is None:
        return "starting: the supervisor has told nothing yet"
    return f"the supervisor has been silent for {silent_s:.0f} s" if silent_s > SILENT_S else ""


def unready(status: Mapping[str, Any], max_lag_s: float) -> str:
    """Return why the daemon of `status` is not ready, or an empty text."""
    if not status.get("healthy"):
        return status.get("reason") or status.get("health") or "not healthy"
    sync = status.get("sync") or {}
    if sync.get("phase") != "live":
        return ""
    lag_s = sync.get("lag_s")
    if lag_s is None:
        return "it is not known yet how far the mirror is behind"
    return f"the mirror is {lag_s:.1f} s behind, more than {max_lag_s:g} s" if lag_s > max_lag_s else ""
