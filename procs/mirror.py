"""The two primitives that do all the work (R1): copy these ids, copy this range of ids.

Each runs in one snapshot transaction that reads the source and writes the mirror, and writes only what
differs. MongoDB lets the first of two transactions on one document commit and fails the other, which copies
again from a fresh snapshot. That orders all writers of one customer, whichever process they are in.

A copy of *named* ids also touches the customers that show no difference: it writes the document without
changing it. Without that write, a transaction that read an older source would meet no conflict and could
still commit what it read.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteMany, InsertOne, MongoClient, ReadPreference, ReplaceOne, UpdateMany, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, CollectionInvalid, DocumentTooLarge, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from procs import rawbson, state
from procs.config import Database
from procs.fence import Registration
from procs.messages import Id
from procs.mongo import RAW, is_transient
from procs.selection import Range, any_of, exactly, id_of, in_range
from procs.unmirrorable import Unmirrorable

SNAPSHOT = ReadConcern("snapshot")
MAJORITY = WriteConcern("majority")

MAX_DOCUMENT = 16 * 1024 * 1024
"""https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size"""

TOO_LARGE = 10334  # BSONObjectTooLarge
UNAUTHORIZED = 13

T = TypeVar("T")
Write = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | UpdateMany | DeleteMany
Documents = dict[Id, bytes]
RawCollection = Collection[Any]


class SourceMissing(Exception):
    """The source does not exist (any more): the mirror stays as it was."""


@dataclass(frozen=True)
class Copied:
    """What one or more copies did, in customers."""

    scanned: int = 0
    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Copied") -> "Copied":
        return Copied(
            self.scanned + other.scanned,
            self.inserted + other.inserted,
            self.replaced + other.replaced,
            self.deleted + other.deleted,
            self.unchanged + other.unchanged,
        )

    def __sub__(self, other: "Copied") -> "Copied":
        return Copied(
            self.scanned - other.scanned,
            self.inserted - other.inserted,
            self.replaced - other.replaced,
            self.deleted - other.deleted,
            self.unchanged - other.unchanged,
        )


class Mirror:
    """Source and mirror of one database, seen through the session of one process.

    `anonymise` turns the BSON of a customer into that of its image. With `keep`, a source that does not exist
    empties nothing: the copy raises SourceMissing.
    """

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        database: Database,
        anonymise: Callable[[bytes], bytes],
        *,
        keep: bool,
    ) -> None:
        self._database = client.get_database(database.name, read_preference=ReadPreference.PRIMARY)
        self._source = self._database.get_collection(database.source, codec_options=RAW)
        self._mirror = self._database.get_collection(database.mirror, codec_options=RAW)
        self._timeout_s = database.timeout_ms / 1000
        self._session = client.start_session()
        self._registration = Registration(state.collection(client, database), database)
        self._unmirrorable = Unmirrorable(client, database)
        self._anonymise = anonymise
        self._keep = keep
        self._validated = False

    def prepare(self) -> None:
        """Create the mirror if it is missing, with the collation of the source, which orders the `_id`s."""
        options = self._options(self._source) or {}
        more = {"collation": options["collation"]} if "collation" in options else {}
        try:
            self._database.create_collection(self._mirror.name, check_exists=False, **more)
        except (CollectionInvalid, OperationFailure) as error:
            if not isinstance(error, CollectionInvalid) and error.code != 48:  # NamespaceExists
                raise
        # A touch adds a field for a moment; a validator that forbids it is passed by, and only then,
        # for that takes a right of its own (bypassDocumentValidation).
        self._validated = "validator" in (self._options(self._mirror) or {})

    def close(self) -> None:
        """Give the session back."""
        self._session.end_session()

    def last_source_id(self) -> Id | None:
        """Return the highest `_id` of the source, None if it is empty."""
        return self._last_id(self._source)

    def last_mirror_id(self) -> Id | None:
        """Return the highest `_id` of the mirror, None if it is empty."""
        return self._last_id(self._mirror)

    def source_size(self) -> int:
        """Return about how many customers there are, from the collection's metadata."""
        return self._source.estimated_document_count()

    def copy_ids(self, ids: Iterable[Id]) -> Copied:
        """Make the mirror of exactly these customers equal to the source, and touch those that are."""
        return self._copy_each(list(dict.fromkeys(ids)))

    def copy_range(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        """Make the first part of `span` equal: at most `limit` documents of source and mirror each.

        Returns what was done and the rest of `span` (None: nothing is left of it).
        """
        try:
            return self._transact(lambda: self._copy_chunk(span, limit))
        except (BulkWriteError, DocumentTooLarge) as error:
            _refusal(error)
        ids, rest = self._transact(lambda: self._ids_of_chunk(span, limit))
        return self._copy_each(ids), rest

    def retry_unmirrorable(self) -> None:
        """Try the customers again that the mirror refused earlier."""
        if ids := self._unmirrorable.load():
            self._copy_each(ids)

    def _copy_each(self, ids: list[Id]) -> Copied:
        """Copy named ids; halve what does not fit into one reply or holds a document that is refused."""
        if not ids:
            return Copied()
        refusal = TOO_LARGE
        try:
            copied = self._transact(lambda: self._copy_named(ids))
            if copied is not None:
                return copied
        except (BulkWriteError, DocumentTooLarge) as error:
            refusal = _refusal(error)
        if len(ids) == 1:
            return self._transact(lambda: self._set_aside(ids[0], refusal))
        middle = len(ids) // 2
        return self._copy_each(ids[:middle]) + self._copy_each(ids[middle:])

    def _copy_named(self, ids: Sequence[Id]) -> Copied | None:
        wanted = any_of(ids)
        source, more_source = self._read(self._source, wanted, len(ids))
        mirror, more_mirror = self._read(self._mirror, wanted, len(ids))
        if more_source or more_mirror:
            return None
        if mirror and not source:
            self._guard_missing_source()
        return self._write(source, mirror, touch=ids)

    def _copy_chunk(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        source, mirror, rest = self._read_chunk(span, limit)
        if mirror and not source:
            self._guard_missing_source()
        return self._write(source, mirror, touch=()), rest

    def _ids_of_chunk(self, span: Range, limit: int) -> tuple[list[Id], Range | None]:
        source, mirror, rest = self._read_chunk(span, limit)
        return list(source | mirror), rest

    def _read_chunk(self, span: Range, limit: int) -> tuple[Documents, Documents, Range | None]:
        """Read the same range on both sides; it ends where the side that reaches less far ends."""
        source, more_source = self._read(self._source, in_range(span), limit, ordered=True)
        until = next(reversed(source)) if more_source else span.until
        mirror, more_mirror = self._read(
            self._mirror, in_range(Range(span.after, until)), limit, ordered=True
        )
        if more_mirror and (last := next(reversed(mirror))) != until:
            # Rare: many mirror documents without a source. The server knows the order of `_id`s of any type.
            until = last
            source, _ = self._read(self._source, in_range(Range(span.after, until)), limit, ordered=True)
        rest = Range(until, span.until) if (more_source or more_mirror) and until != span.until else None
        return source, mirror, rest

    def _read(
        self,
        collection: RawCollection,
        wanted: RawBSONDocument,
        limit: int,
        ordered: bool = False,
    ) -> tuple[Documents, bool]:
        """Return the documents of one reply (at most 16 MB) by their id, and whether there may be more."""
        cursor = collection.find_raw_batches(
            wanted,
            session=self._session,
            sort=[("_id", 1)] if ordered else None,
            limit=limit,
            batch_size=limit,
        )
        try:
            documents = rawbson.split(bytes(next(cursor, b"")))
            more = cursor.alive or (ordered and len(documents) == limit)
        finally:
            cursor.close()
        return {id_of(document): document for document in documents}, more

    def _write(self, source: Documents, mirror: Documents, touch: Sequence[Id]) -> Copied:
        """Write what differs, and the touches, in one ordered bulk."""
        images = {id_: self._anonymise(document) for id_, document in source.items()}
        if any(len(image) > MAX_DOCUMENT for image in images.values()):
            raise DocumentTooLarge("an anonymised customer is over 16 MB")
        deleted = [id_ for id_ in mirror if id_ not in images]
        inserted = [id_ for id_ in images if id_ not in mirror]
        replaced = [id_ for id_, image in images.items() if id_ in mirror and mirror[id_] != image]
        writes: list[Write] = []
        if deleted:  # first, for 1 and 1.0 are one `_id` to the server and two ids to us
            writes.append(DeleteMany(any_of(deleted)))
        writes += [InsertOne(RawBSONDocument(images[id_])) for id_ in inserted]
        writes += [ReplaceOne(exactly(id_), RawBSONDocument(images[id_])) for id_ in replaced]
        if writes:
            self._mirror.bulk_write(writes, session=self._session)
        written = {*deleted, *inserted, *replaced}
        self._touch([id_ for id_ in touch if id_ not in written], images)
        self._unmirrorable.forget(images, self._session)
        return Copied(
            scanned=len(source),
            inserted=len(inserted),
            replaced=len(replaced),
            deleted=len(deleted),
            unchanged=len(images) - len(inserted) - len(replaced),
        )

    def _touch(self, ids: Sequence[Id], images: Documents) -> None:
        """Write these images, and the absence of those that are not there, without changing them."""
        if not ids:
            return
        name = _unused_name(images.values())
        absent = [id_ for id_ in ids if id_ not in images]
        # An absent customer may still be found under an `_id` of equal value (1 and 1.0): then nothing is
        # inserted, the delete passes it by and the last update restores it.
        writes: list[Write] = [UpdateMany(any_of(ids), {"$set": {name: 1}})]
        for id_ in absent:
            marks = {"$set": {name: 1}, "$setOnInsert": {name + "_absent": 1}}
            writes.append(UpdateOne(exactly(id_), marks, upsert=True))
        if absent:
            writes.append(DeleteMany(any_of(absent, having=name + "_absent")))
        writes.append(UpdateMany(any_of(ids), {"$unset": {name: ""}}))
        self._mirror.bulk_write(
            writes, session=self._session, bypass_document_validation=self._validated or None
        )

    def _set_aside(self, id_: Id, code: int) -> Copied:
        """Take a customer that cannot be mirrored out of the mirror, and remember its id."""
        mirror, _ = self._read(self._mirror, any_of([id_]), 1)
        if mirror:
            self._mirror.bulk_write([DeleteMany(any_of([id_]))], session=self._session)
        else:
            self._touch([id_], {})
        self._unmirrorable.remember(id_, code, self._session)
        return Copied(scanned=1, deleted=len(mirror))

    def _transact(self, body: Callable[[], T]) -> T:
        """Run `body` in a snapshot transaction, again after each conflict, for one time-out at most."""
        self._registration.ensure(self._session, time.monotonic())
        with pymongo.timeout(self._timeout_s):
            return self._session.with_transaction(
                lambda _: body(), SNAPSHOT, MAJORITY, ReadPreference.PRIMARY
            )

    def _guard_missing_source(self) -> None:
        if self._keep and self._options(self._source) is None:
            raise SourceMissing

    def _options(self, collection: "Collection[Any]") -> dict[str, Any] | None:
        """Return how a collection was created, None if there is none."""
        for found in self._database.list_collections(filter={"name": collection.name}):
            return dict(found.get("options", {}))
        return None

    def _last_id(self, collection: RawCollection) -> Id | None:
        last = collection.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        return None if last is None else id_of(bytes(last.raw))


def _unused_name(documents: Iterable[bytes]) -> str:
    """Return a field name that none of `documents` has at any level."""
    name = "_clientsync_touch"
    while any(name.encode() in document for document in documents):
        name += "_"
    return name


def _refusal(error: BulkWriteError | DocumentTooLarge) -> int:
    """Return the server's code for the document that it refused; re-raise what is no such refusal."""
    if isinstance(error, DocumentTooLarge):
        return TOO_LARGE
    codes = [int(entry["code"]) for entry in error.details.get("writeErrors", [])]
    if not codes or UNAUTHORIZED in codes or is_transient(error):
        raise error
    return codes[0]
