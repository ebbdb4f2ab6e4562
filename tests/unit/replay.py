"""A supervisor without processes, for tests of the restart policy: what it decides, and when."""

from supervisor.decide import decide
from supervisor.state import Action, Event, Exited, Heard, Limits, Start, initial
from supervisor.tree import Child, Mode


def row(name: str, group: str, stage: int, *, first: bool = False) -> Child:
    return Child(name, print, frozenset(Mode), group, stage, name, first)


SERVER = row("server", "server", 3, first=True)
GENERATOR = row("generator", "generator", 1)
SYNC = (row("listener", "sync", 1), row("scanner", "sync", 2), row("writer", "sync", 2))
LIMITS = Limits(stop_s=10, server_stop_s=2, hang_s=20, start_s=60, backoff_first_s=0.01, backoff_cap_s=30)


class Replay:
    """A supervisor without processes: what it decides, at the times the test names."""

    def __init__(
        self,
        *rows: Child,
        limits: Limits = LIMITS,
        one_shot: bool = False,
        unwanted: frozenset[str] = frozenset(),
    ) -> None:
        self.state = initial(rows, limits, one_shot=one_shot, unwanted=unwanted)

    def at(self, now: float, *events: Event) -> list[Action]:
        actions: list[Action] = []
        for event in events:
            self.state, more = decide(self.state, event, now)
            actions += more
        return actions

    def running(self, now: float = 0.0) -> "Replay":
        """All children are forked and ready."""
        self.at(now, Start())
        for _ in range(2):
            self.at(now, *(ready(name) for name, child in self.state.children.items() if child.alive))
        assert all(child.ready == child.wanted for child in self.state.children.values())
        return self


def ready(child: str, phase: str = "live") -> Heard:
    return Heard(child, phase, ready=True)


def died(child: str, cause: str = "SIGKILL", code: int | None = -9) -> Exited:
    return Exited(child, cause, code, jitter=1.0)


def left(child: str) -> Exited:
    return Exited(child, "exit code 0", 0, jitter=1.0)


def of(kind: type, actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]
