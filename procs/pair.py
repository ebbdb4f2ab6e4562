"""Reading source and mirror side by side, as raw documents keyed by their raw id.

All reads of one call belong to one snapshot if `session` is in a transaction or reads snapshots.
"""

from collections.abc import Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from procs import rawbson
from procs.config import Database
from procs.messages import Id
from procs.mongo import RAW
from procs.selection import Range, any_of, id_of, in_range

Documents = dict[Id, bytes]
RawCollection = Collection[Any]


class Pair:
    """The two collections, always read from the primary."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        both = client.get_database(database.name, read_preference=ReadPreference.PRIMARY)
        self.source: RawCollection = both.get_collection(database.source, codec_options=RAW)
        self.mirror: RawCollection = both.get_collection(database.mirror, codec_options=RAW)

    def last_source_id(self) -> Id | None:
        """Return the highest `_id` of the source, None if it is empty."""
        return _last_id(self.source)

    def last_mirror_id(self) -> Id | None:
        """Return the highest `_id` of the mirror, None if it is empty."""
        return _last_id(self.mirror)

    def source_size(self) -> int:
        """Return about how many customers there are, from the collection's metadata."""
        return self.source.estimated_document_count()

    def options(self, collection: RawCollection) -> dict[str, Any] | None:
        """Return how a collection was created, None if there is none."""
        for found in collection.database.list_collections(filter={"name": collection.name}):
            return dict(found.get("options", {}))
        return None

    def read_ids(self, ids: Sequence[Id], session: ClientSession) -> tuple[Documents, Documents] | None:
        """Return source and mirror of these customers; None if they do not fit into one reply each."""
        wanted = any_of(ids)
        source, more_source = _read(self.source, wanted, len(ids), session)
        mirror, more_mirror = _read(self.mirror, wanted, len(ids), session)
        return None if more_source or more_mirror else (source, mirror)

    def read_mirror(self, id_: Id, session: ClientSession) -> Documents:
        """Return the image of one customer, if there is one."""
        return _read(self.mirror, any_of([id_]), 1, session)[0]

    def read_chunk(
        self, span: Range, limit: int, session: ClientSession
    ) -> tuple[Documents, Documents, Range | None]:
        """Read the same range on both sides; it ends where the side that reaches less far ends."""
        source, more_source = _read(self.source, in_range(span), limit, session, ordered=True)
        until = next(reversed(source)) if more_source else span.until
        mirror, more_mirror = _read(
            self.mirror, in_range(Range(span.after, until)), limit, session, ordered=True
        )
        if more_mirror and (last := next(reversed(mirror))) != until:
            # Rare: many mirror documents without a source. The server knows the order of `_id`s of any type.
            until = last
            source, _ = _read(self.source, in_range(Range(span.after, until)), limit, session, ordered=True)
        rest = Range(until, span.until) if (more_source or more_mirror) and until != span.until else None
        return source, mirror, rest


def _read(
    collection: RawCollection,
    wanted: RawBSONDocument,
    limit: int,
    session: ClientSession,
    ordered: bool = False,
) -> tuple[Documents, bool]:
    """Return the documents of one reply (at most 16 MB) by their id, and whether there may be more."""
    cursor = collection.find_raw_batches(
        wanted,
        session=session,
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


def _last_id(collection: RawCollection) -> Id | None:
    last = collection.find_one({}, {"_id": 1}, sort=[("_id", -1)])
    return None if last is None else id_of(bytes(last.raw))
