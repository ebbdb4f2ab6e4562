"""The customers that the mirror cannot hold: over 16 MB once anonymised, or refused by a validator or index.

{_id: {kind: "unmirrorable", source, mirror, id}, code, at}
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.client_session import ClientSession

from procs import rawbson, state
from procs.config import Database
from procs.messages import Id
from procs.mongo import RAW
from procs.selection import exactly, id_of, nested

log = logging.getLogger(__name__)

AT_ONCE = 1000
"""How many ids are loaded and tried again in one go."""


class Unmirrorable:
    """Remembers ids; writes go into the transaction of the given session, together with the mirror's."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        self._states = state.collection(client, database)
        self._raw = self._states.with_options(codec_options=RAW)
        self._key = state.key(database, "unmirrorable")
        self._ours = {f"_id.{name}": value for name, value in self._key.items()}
        self._known: set[Id] = set()
        self._tried: Id | None = None

    def load(self) -> list[Id]:
        """Return ids that are remembered, at most AT_ONCE, to try them again; call by call all of them."""
        ids = list(self._find(limit=AT_ONCE, after=self._tried))
        self._tried = ids[-1] if len(ids) == AT_ONCE else None
        self._known.update(ids)
        return ids

    @property
    def is_known_of(self) -> bool:
        """Whether any was met by this process."""
        return bool(self._known)

    def all_ids(self) -> set[Id]:
        """Return all ids that are remembered."""
        return set(self._find(limit=0))

    def count(self) -> int:
        """Return how many are remembered."""
        return self._states.count_documents(self._ours)

    def _find(self, limit: int, after: Id | None = None) -> Iterator[Id]:
        wanted = [(name.encode(), rawbson.value(value)) for name, value in self._ours.items()]
        if after is not None:
            wanted.append((b"_id", nested([(b"$gt", self._key_of(after))])))
        ours = RawBSONDocument(rawbson.document(wanted))
        for found in self._raw.find(ours, {"_id": 1}, sort=[("_id", 1)], limit=limit):
            yield id_of(id_of(bytes(found.raw))[1:], b"id")

    def remember(self, id_: Id, code: int, session: ClientSession) -> None:
        """Keep `id_` with the server's error code for the refusal."""
        self._states.update_one(
            self._one(id_),
            {"$set": {"code": code}, "$currentDate": {"at": True}},
            upsert=True,
            session=session,
        )
        if id_ not in self._known:
            log.warning(
                "a customer cannot be mirrored (code %d); `clientsync-supervisor verify` counts them",
                code,
                extra={"event": "customer_unmirrorable", "code": code},
            )
        self._known.add(id_)

    def forget(self, ids: Iterable[Id], session: ClientSession) -> None:
        """Drop those of `ids` that were remembered: they are mirrored now."""
        if not self._known:
            return
        for id_ in self._known.intersection(ids):
            self._states.delete_one(self._one(id_), session=session)

    def _one(self, id_: Id) -> RawBSONDocument:
        return exactly(self._key_of(id_))

    def _key_of(self, id_: Id) -> bytes:
        key = [(name.encode(), rawbson.value(value)) for name, value in self._key.items()]
        return nested([*key, (b"id", id_)])
