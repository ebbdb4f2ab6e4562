"""The rows of which a process tree is made; `supervisor.topology` holds the tree itself."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """What one daemon does; `start`, `start app`, `start sync`, `start --full`."""

    ALL = "all"
    APP = "app"
    SYNC = "sync"
    FULL = "full"


@dataclass(frozen=True)
class Child:
    """One row: `target(life, **pipes)` runs in a process of its own."""

    name: str
    target: Callable[..., None]
    modes: frozenset[Mode]
    group: str
    """Children of one group start, die and restart together, on fresh pipes."""
    stop_stage: int
    """Stages stop one after the other, the lowest first."""
    config: str
    """The field of Settings that holds its config."""
    first: bool = False
    """All others are started only once it has been ready, and its stop has seconds of its own."""


@dataclass(frozen=True)
class Pipe:
    """A two-way `multiprocessing.Pipe` between two children of one group."""

    name: str
    ends: tuple[str, str]
