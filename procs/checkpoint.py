"""The stored position in the change stream (R2).

    {_id: {kind: "checkpoint", …}, token, startAfter, policy, sourceMissing, term, savedAt}

It is written only when everything before it has a majority-committed effect, and only by the newest term.
"""

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from procs import state
from procs.config import Database


@dataclass(frozen=True)
class Position:
    """A resume token as the server gave it. `start_after`: it is that of an invalidate event."""

    token: dict[str, Any]
    start_after: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """What is stored: the position, and the fingerprint of the policy that the mirror was made with.

    `source_missing`: the source was dropped or renamed, and a reindex is due once it is there again.
    """

    position: Position
    policy: str
    source_missing: bool = False


class Checkpoints:
    """Reads and writes the checkpoint of one source and mirror."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        self._states = state.collection(client, database)
        self._key = state.key(database, "checkpoint")

    def load(self) -> Checkpoint | None:
        """Return what is stored; None if nothing is, or nothing that can be understood."""
        match self._states.find_one({"_id": self._key}):
            case {"token": {"_data": _} as token, "policy": str(policy), **rest}:
                position = Position(dict(token), bool(rest.get("startAfter")))
                return Checkpoint(position, policy, bool(rest.get("sourceMissing")))
        return None

    def save(self, checkpoint: Checkpoint, term: int) -> bool:
        """Store `checkpoint` for `term`; False if a newer term has written already."""
        try:
            self._states.update_one(
                {"_id": self._key, "$or": [{"term": {"$lte": term}}, {"term": {"$exists": False}}]},
                {
                    "$set": {
                        "token": checkpoint.position.token,
                        "startAfter": checkpoint.position.start_after,
                        "policy": checkpoint.policy,
                        "sourceMissing": checkpoint.source_missing,
                        "term": term,
                    },
                    "$currentDate": {"savedAt": True},
                },
                upsert=True,
            )
        except DuplicateKeyError:  # it exists, with a newer term
            return False
        return True
