"""The process tree and its pipes: two short tables. Nothing else knows the topology."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from procs import generator, listener, scanner, server, writer


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


@dataclass(frozen=True)
class Pipe:
    """A two-way `multiprocessing.Pipe` between two children of one group."""

    name: str
    ends: tuple[str, str]


APP, SYNC, FULL = {Mode.ALL, Mode.APP}, {Mode.ALL, Mode.SYNC}, {Mode.FULL}

CHILDREN = (
    # name       target             modes                            group        stop  config
    Child("server", server.run, frozenset(Mode), "server", 3, "server"),
    Child("generator", generator.run, frozenset(APP), "generator", 1, "generator"),
    Child("listener", listener.run, frozenset(SYNC), "sync", 1, "sync"),
    Child("scanner", scanner.run, frozenset(SYNC), "sync", 2, "sync"),
    Child("writer", writer.run, frozenset(SYNC), "sync", 2, "sync"),
    Child("reindexer", scanner.reindex, frozenset(FULL), "reindexer", 1, "sync"),
)

PIPES = (
    Pipe("inserted", ("listener", "scanner")),
    Pipe("changed", ("listener", "writer")),
)
