"""The stored position in the change stream (R2).

    {_id: {kind: "checkpoint", …}, token, startAfter, policy, reindexDue, sourceMissing, source, mirror, term,
     savedAt}

It is written only when everything before it has a majority-committed effect, and only by the newest term.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError

from procs import state
from procs.config import Database
from procs.identity import Identity

CLUSTER_TIME = re.compile("82([0-9A-Fa-f]{8})")
"""How a token begins: the mark of a timestamp, then its seconds."""

NO_TOKEN = {"_data": ""}
"""In the place of what cannot be a token: the server refuses it like any other that is damaged."""


@dataclass(frozen=True)
class Position:
    """A resume token as the server gave it. `start_after`: it is that of an invalidate event."""

    token: dict[str, Any]
    start_after: bool = False

    @property
    def order(self) -> str:
        """What sorts as the stream does: a token is a KeyString in hexadecimal, its cluster time first.

        https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/db/pipeline/resume_token.h
        """
        return str(self.token["_data"])

    @property
    def time(self) -> int | None:
        """Its cluster time, in seconds since 1970; None if it is no position that a server gave."""
        found = CLUSTER_TIME.match(self.order)
        return int(found[1], 16) if found else None


@dataclass(frozen=True)
class Checkpoint:
    """The position, and what else it stands for.

    `source_missing`: the source was dropped or renamed, and a reindex is due once it is there again.
    `reindex_due`: the mirror was made with another policy, and no reindex with the present one has begun.
    """

    position: Position
    identity: Identity
    source_missing: bool = False
    reindex_due: bool = False


class Checkpoints:
    """Reads and writes the checkpoint of one source and mirror."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        self._states = state.collection(client, database)
        self._key = state.key(database, "checkpoint")

    def policy(self) -> str | None:
        """Return the fingerprint of the policy that the mirror is made with, if that is known."""
        found = self._states.find_one({"_id": self._key}, {"policy": 1})
        return None if found is None else found.get("policy")

    def position(self) -> Position | None:
        """Return the stored position, if there is one that can be understood."""
        stored = _understood(self._states.find_one({"_id": self._key}))
        return None if stored is None else stored.position

    def claim(self, policy: str, term: int | None = None) -> tuple[bool, Checkpoint | None]:
        """Make it that of `term` and `policy`; return whether that was possible, and what is stored.

        From then on no older term can write it, and no process with another policy the mirror. Without a
        `term` it stays with whom it is. None: nothing is stored, or nothing that can be understood.
        """
        other_policy = {"$ne": [{"$ifNull": ["$policy", policy]}, policy]}
        claimed: dict[str, Any] = {
            "policy": policy,
            "reindexDue": {"$or": [{"$ifNull": ["$reindexDue", False]}, other_policy]},
        }
        if term is not None:
            claimed["term"] = term
        try:
            found = self._states.find_one_and_update(
                self._not_newer(term), [{"$set": claimed}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # it exists, with a newer term
            return False, None
        return True, _understood(found)

    def save(self, checkpoint: Checkpoint, term: int) -> bool:
        """Store `checkpoint` for `term`, which must have claimed it; False if a newer one has since."""
        fields = {
            "token": checkpoint.position.token,
            "startAfter": checkpoint.position.start_after,
            "source": checkpoint.identity.source,
            "mirror": checkpoint.identity.mirror,
            "sourceMissing": checkpoint.source_missing,
            "reindexDue": checkpoint.reindex_due,
            "term": term,
        }
        saved = self._states.update_one(
            self._not_newer(term), {"$set": fields, "$currentDate": {"savedAt": True}}
        )
        return bool(saved.matched_count)

    def _not_newer(self, term: int | None) -> dict[str, Any]:
        if term is None:
            return {"_id": self._key}
        return {"_id": self._key, "$or": [{"term": {"$lte": term}}, {"term": {"$exists": False}}]}


def _understood(stored: Mapping[Any, Any] | None) -> Checkpoint | None:
    if stored is None or "token" not in stored:
        return None
    match stored["token"]:
        case {"_data": str()} as token:
            return _checkpoint(token, stored)
    return _checkpoint(NO_TOKEN, stored)


def _checkpoint(token: Mapping[Any, Any], stored: Mapping[Any, Any]) -> Checkpoint:
    return Checkpoint(
        Position(dict(token), bool(stored.get("startAfter"))),
        Identity(stored.get("source"), stored.get("mirror")),
        source_missing=bool(stored.get("sourceMissing")),
        reindex_due=bool(stored.get("reindexDue")),
    )
