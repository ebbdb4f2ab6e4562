"""What the supervisor knows, what can happen, and what it can do about it: values only.

Every time is in seconds of one monotonic clock. The rules are in `supervisor.decide`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from supervisor.tree import Child

NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Limits:
    """The numbers of the restart policy."""

    stop_s: float = 10.0
    """A stop takes at most this long; what is alive then is killed."""
    server_stop_s: float = 2.0
    """The share of `stop_s` that is kept for the child that stops last, so that it can close its files."""
    hang_s: float = 20.0
    """A ready child that is silent for longer hangs, unless its last beat allowed another time."""
    start_s: float = 60.0
    """The same before it is ready. A child that waits for MongoDB beats, so it is not cut off."""
    dump_s: float = 0.2
    """Between asking a silent child for its stacks and killing it."""
    backoff_first_s: float = 0.01
    """Pause before the first restart; it doubles with each further one."""
    backoff_cap_s: float = 30.0
    """The longest pause, and the one between the tries of a degraded group."""
    healthy_s: float = 10.0
    """A group that has been at work for so long starts again with the shortest pause."""
    intensity: int = 10
    """So many unplanned exits within `window_s` make a group degraded."""
    window_s: float = 60.0
    pause_s: float = 5.0
    """The supervisor wakes at least this often: a longer gap means that it was itself stopped."""


@dataclass
class ChildState:
    """One child and its present process, if it is alive."""

    name: str
    group: str
    stop_stage: int
    first: bool
    wanted: bool = True
    """The settings in force have work for it: there is no server child where MONGO_URI names one."""
    alive: bool = False
    ready: bool = False
    ending: bool = False
    """It was told to stop, or killed along with its group: its exit is not its own fault."""
    killed: bool = False
    phase: str = ""
    reason: str = ""
    """Why it is about to exit, in its own words, or of what it has ended."""
    started_at: float | None = None
    heard_at: float = 0.0
    allowed_silence_s: float | None = None
    dumped_at: float | None = None
    restarts: int = 0
    """How often it ended unasked, so that its group was started again."""


@dataclass
class GroupState:
    """Children that live and die together. Backoff and intensity are theirs in common."""

    name: str
    due_at: float | None = None
    """When to start it; None while it is up."""
    stop_by: float | None = None
    """A restart was asked for: drained until then, afterwards killed."""
    up_since: float | None = None
    """Since when all its children have been ready."""
    exits: tuple[float, ...] = ()
    """The unplanned exits of the last `window_s`."""
    failures: int = 0
    """Unplanned exits since it was last healthy."""
    degraded: bool = False


@dataclass(frozen=True)
class Stopping:
    """The daemon stops; it never takes that back."""

    by: float
    code: int
    line: str


@dataclass
class State:
    """Everything on which decisions depend."""

    limits: Limits
    children: dict[str, ChildState]
    groups: dict[str, GroupState]
    one_shot: bool
    """A reindex: past the intensity it gives up instead of trying on slowly."""
    opened: bool
    """The child that goes first has been ready once: the others may start."""
    now: float = 0.0
    stop: Stopping | None = None
    gone: bool = False
    """The daemon was told to exit."""

    def copy(self) -> "State":
        """Return a copy that shares nothing that changes."""
        return replace(
            self,
            children={name: replace(child) for name, child in self.children.items()},
            groups={name: replace(group) for name, group in self.groups.items()},
        )

    def of_group(self, name: str) -> list[ChildState]:
        """Return the children of group `name`."""
        return [child for child in self.children.values() if child.group == name]


def initial(
    rows: Iterable[Child],
    limits: Limits,
    *,
    unwanted: frozenset[str] = NOBODY,
    one_shot: bool = False,
) -> State:
    """Return the state before anything was started."""
    children = {
        row.name: ChildState(row.name, row.group, row.stop_stage, row.first, row.name not in unwanted)
        for row in rows
    }
    groups = {child.group: GroupState(child.group) for child in children.values()}
    opened = not any(child.first and child.wanted for child in children.values())
    return State(limits, children, groups, one_shot, opened)


# What can happen.
@dataclass(frozen=True)
class Start:
    """The daemon begins."""


@dataclass(frozen=True)
class Tick:
    """All that had been waiting was read: now silence means silence."""


@dataclass(frozen=True)
class Heard:
    """A child gave a sign of life."""

    child: str
    phase: str
    ready: bool
    allowed_silence_s: float | None = None


@dataclass(frozen=True)
class Failed:
    """A child told why it is about to exit."""

    child: str
    reason: str
    permanent: bool


@dataclass(frozen=True)
class Finished:
    """A child has done the whole task of this daemon."""

    child: str


@dataclass(frozen=True)
class Exited:
    """A child's process is gone, or could not be forked. `jitter` is drawn from 0..1."""

    child: str
    cause: str
    code: int | None
    jitter: float


@dataclass(frozen=True)
class StopAsked:
    """SIGTERM, the first SIGINT, or the command `stop`."""


@dataclass(frozen=True)
class StopAtOnce:
    """The second SIGINT."""


@dataclass(frozen=True)
class Reloaded:
    """New settings are in force: `live` children take them as they run, `restart` groups do not."""

    limits: Limits
    live: frozenset[str] = NOBODY
    restart: frozenset[str] = NOBODY
    unwanted: frozenset[str] = NOBODY
    """Children without work under the new settings."""


Event = Start | Tick | Heard | Failed | Finished | Exited | StopAsked | StopAtOnce | Reloaded


# What can be done.
@dataclass(frozen=True)
class StartGroup:
    """Fork all children of a group, on fresh pipes."""

    group: str


@dataclass(frozen=True)
class SendStop:
    """Ask a child to finish what is in hand."""

    child: str


@dataclass(frozen=True)
class SendConfig:
    """Hand a running child its new config."""

    child: str


@dataclass(frozen=True)
class Dump:
    """Have a silent child write down its stacks."""

    child: str


@dataclass(frozen=True)
class Kill:
    """End a child with SIGKILL."""

    child: str


@dataclass(frozen=True)
class Report:
    """Log the exit of a child; one that was its own `fault` goes into the death ledger."""

    child: str
    fault: bool
    why: str
    again_in: float | None


@dataclass(frozen=True)
class Announce:
    """Log a turn for the worse or the better."""

    level: int
    event: str
    text: str


@dataclass(frozen=True)
class Exit:
    """Leave; `line` says why when it was not asked for."""

    code: int
    line: str


Action = StartGroup | SendStop | SendConfig | Dump | Kill | Report | Announce | Exit
