"""Where clientsync keeps what it must remember: the collection `clientsync_state` beside the source.

One document a thing, keyed by what it is and by the pair of collections it is about:

    {_id: {kind: "checkpoint" | "lease" | "standby" | "walk" | "session" | "unmirrorable" | "verify",
           source, mirror, …}, …}

Every write is majority-committed, so that a change of primary cannot undo it.
"""

from typing import Any

from bson.codec_options import CodecOptions
from bson.son import SON
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from procs.config import Database

NAME = "clientsync_state"

PLAIN: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


def collection(client: "MongoClient[dict[str, Any]]", database: Database) -> "Collection[dict[str, Any]]":
    """Return the state of `database`, read from the primary and written to a majority."""
    return client.get_database(database.name).get_collection(
        NAME,
        codec_options=PLAIN,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern("majority"),
    )


def key(database: Database, kind: str, **more: Any) -> SON[str, Any]:
    """Return the `_id` of the document that remembers `kind` for this source and mirror."""
    # Field order is part of the identity of an embedded `_id`.
    return SON(
        [("kind", kind), ("source", database.source), ("mirror", database.mirror), *sorted(more.items())]
    )
