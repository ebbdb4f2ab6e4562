"""A reload that is under way: it is done when every group that it restarts is at work again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from supervisor import health
from supervisor.control import Request
from supervisor.state import State


@dataclass
class PendingReload:
    """Collects who asked; a second reload meanwhile joins the first."""

    changed: tuple[str, ...] = ()
    at_next_start: tuple[str, ...] = ()
    groups: set[str] = field(default_factory=set)
    askers: list[Request] = field(default_factory=list)

    def join(
        self,
        changed: Iterable[str],
        at_next_start: Iterable[str],
        groups: Iterable[str],
        asker: Request | None,
    ) -> None:
        """Add what one more reading of the settings brought, and who asked for it."""
        if asker:
            self.askers.append(asker)
        self.changed = (*self.changed, *changed)
        self.at_next_start = (*self.at_next_start, *at_next_start)
        self.groups |= set(groups)

    def outcome(self, state: State) -> dict[str, Any] | None:
        """Return what came of it, or None while it goes on."""
        if state.stop is not None:
            return {"ok": False, "text": "the daemon is stopping"}
        for name in sorted(self.groups):
            if state.groups[name].failures:
                return {"ok": False, "text": f"{self._said()}; but {health.trouble(state, None)}"}
        if health.running(state, self.groups):
            return {"ok": True, "text": self._said()}
        if health.in_service(state):
            return {"ok": True, "text": f"{self._said()}; MongoDB cannot be reached yet"}
        return None

    def _said(self) -> str:
        said = "; ".join(self.changed) or "nothing changed"
        restarted = f"; restarted: {', '.join(sorted(self.groups))}" if self.groups else ""
        later = f"; at the next start: {'; '.join(self.at_next_start)}" if self.at_next_start else ""
        return f"{said}{restarted}{later}"
