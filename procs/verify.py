"""Compares the whole mirror with the source, writes nothing, and counts only what stays wrong.

Each chunk is read in one snapshot. What differs there may just be under way, so it is looked at again: it
counts when neither the source nor the mirror of that customer moves for SETTLED_S. Whatever moves is being
mirrored.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from pymongo import MongoClient
from pymongo.client_session import ClientSession

from procs.anonymise import Anonymiser
from procs.config import SyncConfig
from procs.messages import Id
from procs.pair import Documents, Pair
from procs.selection import Range
from procs.unmirrorable import Unmirrorable

SETTLED_S = 3.0
"""How long a difference must stand still; a flush comes SYNC_FLUSH_MS after an insert, so that is added."""

LOOK_AGAIN_S = 0.5
PATIENCE_S = 120.0
"""A customer that changes all the time is not waited for any longer than this."""

Fault = Literal["missing", "stale", "orphaned", "unmirrorable"]


@dataclass(frozen=True)
class Difference:
    """One customer's image as it should be and as it is; None: there is none."""

    wanted: bytes | None
    found: bytes | None

    @property
    def fault(self) -> Fault:
        """What is wrong with it."""
        if self.wanted is None:
            return "orphaned"
        return "missing" if self.found is None else "stale"


@dataclass(frozen=True)
class Verdict:
    """How many customers were compared, and how many of them stay wrong in which way."""

    compared: int
    missing: int
    stale: int
    orphaned: int
    unmirrorable: int

    @property
    def clean(self) -> bool:
        """Whether the mirror is exactly what it should be."""
        return not (self.missing or self.stale or self.orphaned or self.unmirrorable)


def verify(
    client: "MongoClient[dict[str, Any]]", config: SyncConfig, progress: Callable[[int], None]
) -> Verdict:
    """Compare everything; `progress` is told how many customers were compared so far."""
    return _Verification(client, config).run(progress)


class _Verification:
    def __init__(self, client: "MongoClient[dict[str, Any]]", config: SyncConfig) -> None:
        self._client = client
        self._config = config
        self._pair = Pair(client, config.database)
        self._image = Anonymiser(config.policy)
        self._settled_s = SETTLED_S + config.flush_ms / 1000

    def run(self, progress: Callable[[int], None]) -> Verdict:
        compared, suspects = 0, dict[Id, Difference]()
        span: Range | None = Range(None, None)
        while span is not None:
            with self._snapshot() as session:
                source, mirror, span = self._pair.read_chunk(span, self._config.batch_size, session)
            compared += len(source)
            suspects |= self._differences(source, mirror)
            progress(compared)
        faults = self._faults(self._wait_until_settled(suspects))
        return Verdict(
            compared,
            missing=faults["missing"],
            stale=faults["stale"],
            orphaned=faults["orphaned"],
            unmirrorable=faults["unmirrorable"],
        )

    def _snapshot(self) -> ClientSession:
        return self._client.start_session(snapshot=True)

    def _differences(self, source: Documents, mirror: Documents) -> dict[Id, Difference]:
        differences = {}
        for id_ in source.keys() | mirror.keys():
            wanted = self._image(source[id_]) if id_ in source else None
            found = mirror.get(id_)
            if wanted != found:
                differences[id_] = Difference(wanted, found)
        return differences

    def _wait_until_settled(self, suspects: dict[Id, Difference]) -> dict[Id, Difference]:
        """Look at the suspects again until each is either right or has stood still; return the latter."""
        still_since = dict.fromkeys(suspects, time.monotonic())
        wrong: dict[Id, Difference] = {}
        deadline = time.monotonic() + PATIENCE_S
        while suspects and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
            now = time.monotonic()
            seen = self._look_again(list(suspects))
            for id_, before in list(suspects.items()):
                if id_ not in seen:
                    del suspects[id_]
                elif seen[id_] != before:
                    suspects[id_], still_since[id_] = seen[id_], now
                elif now - still_since[id_] >= self._settled_s:
                    wrong[id_] = suspects.pop(id_)
        return wrong

    def _look_again(self, ids: list[Id]) -> dict[Id, Difference]:
        differences: dict[Id, Difference] = {}
        for part in _parts(ids, self._config.batch_size):
            with self._snapshot() as session:
                read = self._pair.read_ids(part, session)
            if read is not None:
                differences |= self._differences(*read)
            elif len(part) > 1:
                middle = len(part) // 2
                differences |= self._look_again(part[:middle]) | self._look_again(part[middle:])
        return differences

    def _faults(self, wrong: dict[Id, Difference]) -> Counter[Fault]:
        set_aside = Unmirrorable(self._client, self._config.database).all_ids()
        return Counter(
            "unmirrorable" if id_ in set_aside and difference.found is None else difference.fault
            for id_, difference in wrong.items()
        )


def _parts(ids: Sequence[Id], size: int) -> Iterator[list[Id]]:
    rest = iter(ids)
    while part := list(islice(rest, size)):
        yield part
