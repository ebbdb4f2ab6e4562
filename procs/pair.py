"""Reading source and mirror side by side, as raw documents.

All reads of one call belong to one snapshot if `session` is in a transaction or reads snapshots. Each reads
one collection: a $lookup in a transaction aborts MongoDB 6.0.5 (invariant `_requests.empty()`) if somebody
drops or renames the other collection at that moment.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from procs import rawbson
from procs.config import Database
from procs.messages import Id
from procs.mongo import RAW
from procs.selection import Range, any_of, id_of, in_range

Documents = list[bytes]
RawCollection = Collection[Any]

NO_CURSOR = rawbson.value(Int64(0))
"""What a reply names that leaves nothing out."""


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

    def source_sample(self, size: int) -> list[Id]:
        """Return about `size` ids from all over the source, in their order, to divide it by."""
        stages: list[dict[str, Any]] = [{"$sample": {"size": size}}, {"$project": {"_id": 1}}]
        found = self.source.aggregate([*stages, {"$sort": {"_id": 1}}])
        return [id_of(bytes(each.raw)) for each in found]

    def options(self, collection: RawCollection) -> dict[str, Any] | None:
        """Return how a collection was created, None if there is none."""
        for found in collection.database.list_collections(filter={"name": collection.name}):
            return dict(found.get("options", {}))
        return None

    def read_ids(self, ids: Sequence[Id], session: ClientSession) -> tuple[Documents, Documents] | None:
        """Return source and mirror of these customers; None if they do not fit into one reply each."""
        source = self.read_some(self.source, ids, session)
        mirror = self.read_some(self.mirror, ids, session)
        return None if source is None or mirror is None else (source, mirror)

    def read_some(
        self, collection: RawCollection, ids: Sequence[Id], session: ClientSession
    ) -> Documents | None:
        """Return these customers in one of the two; None if they do not fit into one reply."""
        documents, more = _read(collection, any_of(ids), len(ids), session)
        return None if more else documents

    def read_chunk(
        self, span: Range, limit: int, session: ClientSession
    ) -> tuple[Documents, Documents, Range | None]:
        """Read the same range on both sides; it ends where the side that reaches less far ends."""
        source, more_source = _read(self.source, in_range(span), limit, session, ordered=True)
        until = id_of(source[-1]) if more_source else span.until
        mirror, more_mirror = _read(
            self.mirror, in_range(Range(span.after, until)), limit, session, ordered=True
        )
        if more_mirror and (last := id_of(mirror[-1])) != until:
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
    """Return the documents of one reply (at most 16 MB), and whether there may be more."""
    # A cursor of pymongo makes an object of each document first, which takes ten times as long.
    command = {"find": collection.name, "filter": wanted, "limit": limit, "batchSize": limit}
    if ordered:
        command["sort"] = {"_id": 1}
    reply: Any = collection.database.command(command, codec_options=RAW, session=session)
    cursor = dict(rawbson.elements(bytes(reply["cursor"].raw)))
    documents = rawbson.documents_in(cursor[b"firstBatch"])
    if cursor[b"id"] != NO_CURSOR:
        id_ = Int64.from_bytes(cursor[b"id"][1:], "little", signed=True)
        # A session that reads snapshots asks for one with each command, and this one the server refuses then.
        ours = session if session.in_transaction else None
        collection.database.command("killCursors", collection.name, cursors=[id_], session=ours)
    return documents, cursor[b"id"] != NO_CURSOR or (ordered and len(documents) == limit)


def by_id(documents: Iterable[bytes]) -> dict[Id, bytes]:
    """Return `documents` by their ids."""
    return {id_of(document): document for document in documents}


def _last_id(collection: RawCollection) -> Id | None:
    last = collection.find_one({}, {"_id": 1}, sort=[("_id", -1)])
    return None if last is None else id_of(bytes(last.raw))
