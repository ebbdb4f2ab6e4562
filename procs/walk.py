"""A scan of the whole collection in chunks, remembered so that an interrupted one goes on where it was.

{_id: {kind: "walk", source, mirror[, run]}, term, scan, spans: [{after, until}, …], policy, …, seconds,
 copied: {…}}

The term is that of the lease: an instance that lost the lease cannot write over the walk of the next holder.
"""

import logging
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from procs import rawbson, state
from procs.config import Database
from procs.copied import Copied
from procs.identity import Identity, look, look_in
from procs.messages import Gauge, ScanKind
from procs.mirror import Mirror, SourceMissing
from procs.mongo import RAW
from procs.pair import Pair
from procs.prepare import prepare
from procs.rawbson import document, value
from procs.selection import Range, exactly, nested

log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0


class Superseded(Exception):
    """Another instance has taken this walk over, or has begun another."""


@dataclass(frozen=True)
class Walk:
    """What is left to scan, in order, and what was done so far (in `seconds` of work)."""

    scan: ScanKind
    spans: tuple[Range, ...]
    policy: str
    copied: Copied = field(default_factory=Copied)
    seconds: float = 0.0
    term: int = 0
    identity: Identity = field(default_factory=Identity)
    """Of the source and the mirror that it is about."""

    def summary(self) -> dict[str, Gauge]:
        """Return the figures for logs and people."""
        return {**asdict(self.copied), "seconds": round(self.seconds, 1)}


def begin(pair: Pair, scan: ScanKind, policy: str, term: int = 0) -> Walk:
    """Return the walk over all that source and mirror hold now; what comes later is in the stream.

    A catch-up takes the range above the last mirrored customer first, so that new ones show up first.
    """
    prepare(pair)
    last_source, last_mirror = pair.last_source_id(), pair.last_mirror_id()
    everything, above = Range(None, last_source), Range(last_source, last_mirror)
    if last_mirror is None:
        spans = [everything] if last_source is not None else []
    elif last_source is None:
        spans = [Range(None, last_mirror)]
    elif scan == "catch-up":
        spans = [Range(last_mirror, last_source), Range(None, last_mirror)]
    else:
        spans = [everything, above]
    identity = look_in(pair.source.database, pair.source.name, pair.mirror.name)
    return Walk(scan, tuple(spans), policy, term=term, identity=identity)


class Walks:
    """Remembers one walk; `run` names one of several that go on side by side."""

    def __init__(
        self, client: "MongoClient[dict[str, Any]]", database: Database, run: str | None = None
    ) -> None:
        self._client, self._database = client, database
        self._states = state.collection(client, database).with_options(codec_options=RAW)
        self._shared = run is None
        named = {"run": run} if run is not None else {}
        self._key = value(state.key(database, "walk", **named))

    def load(self, policy: str, term: int = 0) -> Walk | None:
        """Return the unfinished walk, to go on in `term`.

        None if there is none for this `policy`, or its source or mirror was replaced since. What cannot be
        read begins anew, for nobody knows what is left of it.
        """
        found: Any = self._states.find_one(exactly(self._key))
        if found is None:
            return None
        now = look(self._client, self._database)
        try:
            walk = _understood(found, term)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning(
                "the interrupted scan cannot be read from %s any more: it begins anew",
                state.NAME,
                extra={"event": "walk_damaged"},
            )
            return Walk("reindex", (Range(None, None),), policy, term=term, identity=now)
        return walk if (walk.policy, walk.identity) == (policy, now) else None

    def save(self, walk: Walk, *, anew: bool = True) -> None:
        """Remember `walk`. Raises Superseded if a newer term has remembered one.

        Not `anew`: nor may it be remembered no more, for then whoever took it over has done it.
        """
        spans = [
            nested([(name, id_) for name, id_ in ((b"after", span.after), (b"until", span.until)) if id_])
            for span in walk.spans
        ]
        fields = [
            (b"_id", self._key),
            (b"term", value(walk.term)),
            (b"scan", value(walk.scan)),
            (b"spans", rawbson.array(spans)),
            (b"policy", value(walk.policy)),
            (b"source", value(walk.identity.source)),
            (b"mirror", value(walk.identity.mirror)),
            (b"seconds", value(walk.seconds)),
            (b"copied", value(asdict(walk.copied))),
        ]
        upsert = anew or not self._shared
        try:
            saved = self._states.replace_one(
                self._up_to(walk.term), RawBSONDocument(document(fields)), upsert=upsert
            )
        except DuplicateKeyError:  # it exists, with a newer term
            raise Superseded from None
        if not upsert and not saved.matched_count:
            raise Superseded

    def forget(self, walk: Walk) -> None:
        """`walk` is done."""
        self._states.delete_one(self._up_to(walk.term))

    def _up_to(self, term: int) -> RawBSONDocument:
        not_newer = nested([(b"$not", nested([(b"$gt", value(term))]))])
        return RawBSONDocument(document([(b"_id", nested([(b"$eq", self._key)])), (b"term", not_newer)]))


class Walker:
    """Takes one walk to its end, chunk by chunk; remembers it about once a second."""

    def __init__(self, mirror: Mirror, walks: Walks, walk: Walk) -> None:
        self.walk = walk
        self._mirror, self._walks = mirror, walks
        self._saved_at = time.monotonic()

    def step(self, limit: int) -> None:
        """Copy the next chunk, at most `limit` customers. Safe to repeat. Raises Superseded."""
        if not self.walk.spans:
            return
        began = time.monotonic()
        try:
            copied, rest = self._mirror.copy_range(self.walk.spans[0], limit)
        except SourceMissing:
            tell_source_missing()
            self.walk = replace(self.walk, spans=())
            return
        now = time.monotonic()
        self.walk = replace(
            self.walk,
            spans=self.walk.spans[1:] if rest is None else (rest, *self.walk.spans[1:]),
            copied=self.walk.copied + copied,
            seconds=self.walk.seconds + now - began,
        )
        if now - self._saved_at >= SAVE_EVERY_S:
            self._walks.save(self.walk, anew=False)
            self._saved_at = now


def tell_source_missing() -> None:
    """Log why a scan ends before its time."""
    log.warning(
        "SOURCE_COLLECTION does not exist: the mirror stays as it is (SYNC_ON_DROP=keep)",
        extra={"event": "source_missing"},
    )


def _understood(found: Any, term: int) -> Walk:
    """Return the stored walk. KeyError, TypeError, ValueError or AttributeError: it is damaged."""
    policy, identity = found["policy"], Identity(found["source"], found["mirror"])
    if not isinstance(policy, str):
        raise TypeError
    if not all(isinstance(uuid, bytes | None) for uuid in (identity.source, identity.mirror)):
        raise TypeError
    copied = Copied() + Copied(**found["copied"])
    spans = tuple(_range(each) for each in found["spans"])
    return Walk(found["scan"], spans, policy, copied, 0.0 + found["seconds"], term, identity)


def _range(span: RawBSONDocument) -> Range:
    raw = bytes(span.raw)
    return Range(rawbson.field(raw, b"after"), rawbson.field(raw, b"until"))
