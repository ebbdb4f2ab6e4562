"""Copies the ranges that the reindexer hands out, chunk by chunk; several copiers keep several cores busy."""

from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from procs.config import SyncConfig
from procs.copied import Copied
from procs.lifeline import Lifeline
from procs.mirror import Mirror, SourceMissing, open_mirror
from procs.mongo import Stopped, connect, ride_out
from procs.selection import Range

IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Copier -> reindexer: what was done, and what is left of the range (None: nothing)."""

    copied: Copied
    rest: Range | None
    source_missing: bool = False


def run(life: Lifeline[SyncConfig], **pipes: "Connection[Any, Any]") -> None:
    """Be a copier until a stop is asked for; `pipes` holds the one to the reindexer, whatever its name."""
    (pipe,) = pipes.values()
    with connect(life.config.database, "copier") as client:
        mirror = open_mirror(client, life.config, life)
        life.beat("reindex", ready=True)
        try:
            while not life.stopping:
                if life.wait(IDLE_S, pipe):
                    _copy(life, mirror, pipe, pipe.recv())
        except Stopped:
            return
        except (EOFError, BrokenPipeError, ConnectionResetError):
            life.outlive_partner()
        finally:
            mirror.close()


def _copy(life: Lifeline[SyncConfig], mirror: Mirror, pipe: "Connection[Any, Any]", span: Range) -> None:
    """Copy all of `span` and tell of each chunk, unless a stop comes in between."""
    rest: Range | None = span
    while rest is not None and not life.stopping:
        try:
            copied, rest = ride_out(life, partial(mirror.copy_range, rest, life.config.batch_size))
        except SourceMissing:
            pipe.send(Chunk(Copied(), None, source_missing=True))
            return
        pipe.send(Chunk(copied, rest))
        life.wait(0)
