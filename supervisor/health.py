"""What the state of the children means: for `status`, for systemd, and for whoever waits for a reload."""

from collections.abc import Iterable

from procs.mongo import WAITING
from supervisor.state import ChildState, State

SYNC_CHILDREN = ("listener", "scanner", "writer", "reindexer", "copier-1", "copier-2")

SETTLED_SYNC_PHASES = {"live", "standby"}


def wanted(state: State) -> list[ChildState]:
    """Return the children that the settings in force have work for, and those that are still there."""
    return [child for child in state.children.values() if child.wanted or child.alive]


def condition(state: State, child: ChildState) -> str:
    """Return starting, running, stopping, backoff, degraded or stopped."""
    group = state.groups[child.group]
    if child.alive and (child.ending or state.stop is not None):
        return "stopping"
    if child.alive and child.ready:
        return "running"
    if state.stop is not None or not child.wanted:
        return "stopped"
    if group.degraded:
        return "degraded"
    if child.alive or child.started_at is None:
        return "starting"
    return "backoff"


def waiting(state: State) -> bool:
    """Tell whether a child is waiting for an unreachable MongoDB."""
    return any(child.alive and child.phase == WAITING for child in state.children.values())


def running(state: State, groups: Iterable[str] | None = None) -> bool:
    """Tell whether all children (of `groups`) are at work."""
    chosen = state.groups.keys() if groups is None else set(groups)
    return all(condition(state, child) == "running" for child in wanted(state) if child.group in chosen)


def in_service(state: State) -> bool:
    """Tell whether all that this daemon can do for its work is done: it runs, or MongoDB must come back."""
    return all(
        condition(state, child) == "running" or (child.alive and not child.ending and child.phase == WAITING)
        for child in wanted(state)
    )


def degraded(state: State) -> bool:
    """Tell whether a group ended unasked too often lately."""
    return any(group.degraded for group in state.groups.values())


def sync_phase(state: State) -> str | None:
    """Return the phase of the sync as a whole; None where this daemon does not mirror."""
    phases = {name: child.phase for name, child in state.children.items() if name in SYNC_CHILDREN}
    if not phases:
        return None
    if WAITING in phases.values():
        return WAITING
    if "reindexer" in phases:
        return phases["reindexer"] or "starting"
    if phases["listener"] == "standby":
        return "standby"
    if phases["scanner"] == "standby":  # it does not know yet what to scan
        phases["scanner"] = "starting"
    return (
        next((phases[name] for name in ("listener", "scanner") if phases[name] != "live"), "live")
        or "starting"
    )


def word(state: State, phase: str | None) -> str:
    """Return the health in one word; `trouble` is the reason. `phase` is that of the sync, if any."""
    conditions = {condition(state, child) for child in wanted(state)}
    for found, told in (
        (state.stop is not None, "stopping"),
        (waiting(state), "waiting"),
        (degraded(state), "degraded"),
        ("backoff" in conditions, "failing"),
        (conditions - {"running"}, "starting"),
        (phase == "standby", "standby"),
        (phase is not None and phase not in SETTLED_SYNC_PHASES and not state.one_shot, "catching up"),
    ):
        if found:
            return told
    return "healthy"


def trouble(state: State, phase: str | None) -> str:
    """Return why the daemon is not healthy (yet), or an empty text. `phase` is that of the sync, if any."""
    if state.stop is not None:
        return "stopping"
    if waiting(state):
        return "MongoDB cannot be reached"
    # First those that know why: the others of a group went down with them.
    for child in sorted(wanted(state), key=lambda child: not child.reason):
        is_now = condition(state, child)
        if is_now != "running":
            return f"{child.name}: {is_now}{f' ({child.reason})' if child.reason else ''}"
    for group in state.groups.values():
        if group.degraded:
            return f"{group.name}: degraded, {len(group.exits)} unplanned exits lately"
    if phase is not None and phase not in SETTLED_SYNC_PHASES and not state.one_shot:
        return f"the mirror is not up to date yet: {phase}"
    return ""
