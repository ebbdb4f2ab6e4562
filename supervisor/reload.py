"""What a reload changes: which children take it as they run, which restart, what has to wait."""

from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from supervisor.setting_sources import is_secret
from supervisor.settings import SETTINGS, Settings, embedded_server

CONFIGS = ("server", "generator", "sync", "verifier", "web")
"""The fields of Settings that hold the config of children."""

AT_NEXT_START = ("STATE_DIR", "LOG_FORMAT")
"""The lock and the control socket are held in the one, every child writes in the other."""


@dataclass(frozen=True)
class Changes:
    """What differs between the settings in force and new ones; empty sets where nothing does."""

    settings: Settings
    """The new settings, but with the old values of all that waits for the next start."""
    live: frozenset[str]
    """Configs of Settings that differ in LIVE fields only: their children take them as they run."""
    restart: frozenset[str]
    """Configs of Settings whose children must restart, come or go."""
    changed: tuple[str, ...]
    """A line for each setting that applies now, for the log; secrets by name only."""
    at_next_start: tuple[str, ...]
    """The same for those that a running daemon cannot take."""


def compare(old: Settings, new: Settings) -> Changes:
    """Return what it takes to go from `old` to `new`.

    While the MongoDB is our own, the uri that `old` was given with `with_uri` stays in force.
    """
    if old.embedded and new.embedded:
        new = new.with_uri(old.database.uri)
    lines = {
        setting.name: _line(setting.name, before, after)
        for setting in SETTINGS
        if (before := attrgetter(setting.attribute)(old)) != (after := attrgetter(setting.attribute)(new))
    }
    settings = _keep_what_waits(old, new)
    live: set[str] = set()
    restart: set[str] = set()
    for name in CONFIGS:
        before, after = getattr(old, name), getattr(settings, name)
        if before != after:
            (live if _only_live_differs(before, after) else restart).add(name)
    return Changes(
        settings=settings,
        live=frozenset(live),
        restart=frozenset(restart),
        changed=tuple(line for name, line in lines.items() if name not in AT_NEXT_START),
        at_next_start=tuple(line for name, line in lines.items() if name in AT_NEXT_START),
    )


def _keep_what_waits(old: Settings, new: Settings) -> Settings:
    """Return `new` at the place, under the name and in the log format of `old`."""
    return replace(
        new,
        instance=old.instance,
        state_dir=old.state_dir,
        runtime_dir=old.runtime_dir,
        log_format=old.log_format,
        server=embedded_server(old.state_dir) if new.embedded else None,
        sync=replace(new.sync, instance=old.sync.instance, node=old.sync.node),
    )


def _only_live_differs(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return False
    return all(
        field.metadata.get("live") or getattr(before, field.name) == getattr(after, field.name)
        for field in fields(before)
    )


def _line(name: str, before: object, after: object) -> str:
    return f"{name} changed" if is_secret(name) else f"{name} {_shown(before)} -> {_shown(after)}"


def _shown(value: object) -> str:
    if value is None or value == "":
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
