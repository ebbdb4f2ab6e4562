"""Compares the whole mirror with the source, writes nothing, and counts only what stays wrong.

Each chunk is read in one snapshot. What differs there may just be under way, so it is looked at again once
the mirror has passed that moment. What differs still is wrong, unless the customer has changed after the
moment: then it is looked at after the next one.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar, get_args

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, PyMongoError

from procs import identity, rawbson
from procs.anonymise import Anonymiser
from procs.config import SyncConfig
from procs.errors import TemporaryError
from procs.messages import Id
from procs.mongo import is_transient
from procs.pair import Documents, Pair, by_id
from procs.passage import Passage
from procs.selection import Range
from procs.unmirrorable import Unmirrorable

PATIENCE_S, LOOKS = 15.0, 10
"""For how long, and how often at least, to look at one that changes between all looks; it is wrong if its
image never moved meanwhile."""

SNAPSHOT_S, AGAIN_S = 10.0, 0.1

SUSPECTS = 100_000
"""So many are looked at again together, at most, or a mirror that is all wrong would fill the memory."""

T = TypeVar("T")

Fault = Literal["missing", "stale", "orphaned", "unmirrorable"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with one customer's image, and the hash of what it was found as."""

    fault: Fault
    found: int


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
        return not (self.wrong or self.unmirrorable)

    @property
    def wrong(self) -> int:
        """How many images are not what they should be, though the mirror could hold them."""
        return self.missing + self.stale + self.orphaned


@dataclass(frozen=True)
class Findings:
    """What was found, and some SUSPECTS at most of those whose image could be what it should be."""

    verdict: Verdict
    wrong: list[Id]


def verify(
    client: "MongoClient[dict[str, Any]]", config: SyncConfig, progress: Callable[[int], None]
) -> Verdict:
    """Compare everything; `progress` is told how many customers were compared so far.

    Raises TemporaryError if there is no source to compare a mirror with that is kept.
    """
    database = config.database
    if config.on_drop == "keep" and identity.look(client, database).source is None:
        raise TemporaryError(
            f"SOURCE_COLLECTION: there is no collection {database.source!r} in {database.name!r}, so nothing "
            "to compare the mirror with (SYNC_ON_DROP=keep); if it was not dropped, correct MONGO_DB or "
            "SOURCE_COLLECTION"
        )
    return Verification(client, config).find(progress).verdict


class Verification:
    """One look at all of source and mirror.

    It sleeps by `pause`, and calls it after each read. `patient`: it waits for the mirror, however long.
    """

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        config: SyncConfig,
        pause: Callable[[float], None] = time.sleep,
        *,
        patient: bool = False,
    ) -> None:
        self._client = client
        self._config = config
        self._pause = pause
        self._passage = partial(Passage, client, config, pause, patient=patient)
        self._pair = Pair(client, config.database)
        self._anonymiser = Anonymiser(config.policy)

    def settle(self) -> None:
        """Wait until all that has happened by now is mirrored, and need not be looked at twice."""
        with self._passage() as passage:
            passage.wait()

    def find(self, progress: Callable[[int], None]) -> Findings:
        """Compare everything; `progress` is told how many customers were compared so far."""
        compared, suspects = 0, dict[Id, Difference]()
        numbers, wrong = Counter[Fault](), list[Id]()
        span: Range | None = Range(None, None)
        while span is not None:
            read = partial(self._pair.read_chunk, span, self._config.batch_size)
            source, mirror, span = self._in_snapshot(read)
            compared += len(source)
            suspects |= self._differences(source, mirror)
            progress(compared)
            if len(suspects) >= SUSPECTS or span is None:
                faults = self._faults(suspects)
                suspects = {}
                numbers.update(faults.values())
                if len(wrong) < SUSPECTS:
                    wrong += [id_ for id_, fault in faults.items() if fault != "unmirrorable"]
        verdict = Verdict(compared, **{fault: numbers[fault] for fault in get_args(Fault)})
        return Findings(verdict, wrong)

    def still_wrong(self, ids: Iterable[Id]) -> dict[Id, Fault]:
        """Return what is wrong with these, and stays so."""
        return self._faults(self._look_again(list(ids)))

    def _in_snapshot(self, read: Callable[[ClientSession], T]) -> T:
        """Read in one snapshot; in a newer one if it is gone, with a collection or a primary."""
        deadline = time.monotonic() + SNAPSHOT_S
        while True:
            try:
                with self._client.start_session(snapshot=True) as session:
                    result = read(session)
            except PyMongoError as error:
                moved = is_transient(error) or isinstance(error, AutoReconnect)
                if not moved or time.monotonic() > deadline:
                    raise
                self._pause(AGAIN_S)
            else:
                self._pause(0)
                return result

    def _differences(self, source: Documents, mirror: Documents) -> dict[Id, Difference]:
        images, found = by_id(rawbson.split(self._anonymiser.all(source))), by_id(mirror)
        differences = {}
        for id_ in images.keys() | found.keys():
            if images.get(id_) != found.get(id_):
                fault: Fault = "orphaned" if id_ not in images else "stale" if id_ in found else "missing"
                differences[id_] = Difference(fault, hash(found.get(id_)))
        return differences

    def _faults(self, suspects: dict[Id, Difference]) -> dict[Id, Fault]:
        wrong = self._those_that_stay(suspects)
        set_aside = Unmirrorable(self._client, self._config.database).all_ids() if wrong else set[Id]()
        return {
            id_: "unmirrorable" if each.fault == "missing" and id_ in set_aside else each.fault
            for id_, each in wrong.items()
        }

    def _those_that_stay(self, suspects: dict[Id, Difference]) -> dict[Id, Difference]:
        """Look at the suspects again until each is right or known to be wrong; return the latter."""
        wrong, unmoved = dict[Id, Difference](), suspects
        looks, deadline = 0, time.monotonic() + PATIENCE_S
        while suspects:
            with self._passage() as passage:
                passage.wait()
                seen = self._look_again(list(suspects))
                changed = passage.changed_since()
            suspects = {id_: each for id_, each in seen.items() if changed is None or id_ in changed}
            wrong |= {id_: each for id_, each in seen.items() if id_ not in suspects}
            unmoved = {id_: each for id_, each in unmoved.items() if _is_unmoved(each, suspects.get(id_))}
            looks += 1
            if looks >= LOOKS and time.monotonic() >= deadline:
                return wrong | unmoved
        return wrong

    def _look_again(self, ids: list[Id]) -> dict[Id, Difference]:
        differences: dict[Id, Difference] = {}
        for part in parts(ids, self._config.batch_size):
            read = self._in_snapshot(partial(self._pair.read_ids, part))
            if read is not None:
                differences |= self._differences(*read)
            elif len(part) > 1:
                middle = len(part) // 2
                differences |= self._look_again(part[:middle]) | self._look_again(part[middle:])
        return differences


def _is_unmoved(before: Difference, now: Difference | None) -> bool:
    return now is not None and now.found == before.found


def parts(ids: Sequence[Id], size: int) -> Iterator[list[Id]]:
    """Yield `ids` in lists of at most `size`."""
    rest = iter(ids)
    while part := list(islice(rest, size)):
        yield part
