"""What the server tells about the way ahead: the lease, who stands by, how far the oplog reaches.

Asked by the listener, seldom and briefly, for operators only: what cannot be found out (no right to read the
oplog, no answer in time) is None, and never an error.

    {_id: {kind: "standby", source, mirror, holder}, seenAt}

An instance that stands by says so again and again, by the server's clock; it counts until it falls silent.
"""

import time
from contextlib import suppress
from typing import Any

import pymongo
from bson import MaxKey, MinKey
from pymongo import MongoClient, ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from procs import state
from procs.checkpoint import Checkpoints
from procs.config import Database
from procs.messages import Outlook
from procs.mongo import UNAUTHORIZED

ASK_EVERY_S = 10.0
OPLOG_EVERY_S = 30.0
REFUSED_EVERY_S = 600.0
"""How often it is tried again where a right is missing: each try is a line in the server's log."""

ANSWER_S = 1.0
"""The work of the listener never waits longer for this."""

SILENT_S = 30.0
"""One that stands by and was not seen for so long does not any more."""

FORGET_S = 3600.0
DAMAGED = (AttributeError, LookupError, TypeError, ValueError)
"""What comes of a state in which something was written that no instance ever writes."""

NAME_BYTES, NAMES = 120, 8
"""A beat must stay small: so much of a name is told, and of so many that stand by."""


class Lookout:
    """Asks for one instance: `holder` is its name, as in the lease."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database, holder: str) -> None:
        self._states = state.collection(client, database)
        self._oplog = client.get_database("local", read_preference=ReadPreference.PRIMARY)["oplog.rs"]
        self._checkpoints = Checkpoints(client, database)
        self._database, self._holder = database, holder
        self._due_at = self._oplog_due_at = float("-inf")
        self._oplog_ends: tuple[int | None, int | None] = None, None
        self._registered = False

    @property
    def due(self) -> bool:
        """Whether it is time to ask again."""
        return time.monotonic() >= self._due_at

    def look(self, *, standing_by: bool) -> Outlook | None:
        """Return what is known now, and let others know if this instance stands by. None: no answer."""
        self._due_at = time.monotonic() + ASK_EVERY_S
        with suppress(PyMongoError, *DAMAGED), pymongo.timeout(ANSWER_S):
            if standing_by:
                self._registered = True
                own = {"_id": self._standby(self._holder)}
                self._states.update_one(own, {"$currentDate": {"seenAt": True}}, upsert=True)
            return self._look()
        return None

    def leave(self) -> None:
        """Let others know that this instance does not stand by any more; forget who fell silent long ago."""
        if not self._registered:
            return
        self._registered, self._due_at = False, float("-inf")
        long_ago = {"$lt": ["$seenAt", {"$subtract": ["$$NOW", int(FORGET_S * 1000)]}]}
        with suppress(PyMongoError), pymongo.timeout(ANSWER_S):
            self._states.delete_many(
                {"_id": self._standbys, "$or": [{"_id": self._standby(self._holder)}, {"$expr": long_ago}]}
            )

    def _look(self) -> Outlook | None:
        told = {
            "holder": 1,
            "term": 1,
            "now": "$$NOW",
            "held": {"$gt": ["$expiresAt", "$$NOW"]},
            "silent_ms": {"$subtract": ["$$NOW", "$seenAt"]},
        }
        ours = {"$or": [{"_id": state.key(self._database, "lease")}, {"_id": self._standbys}]}
        found = list(self._states.aggregate([{"$match": ours}, {"$project": told}]))
        asked_at = time.monotonic()
        lease = next((each for each in found if each["_id"]["kind"] == "lease"), None)
        if lease is None:
            return None
        seen = [
            each["_id"]["holder"]
            for each in found
            if each is not lease and each["silent_ms"] < SILENT_S * 1000
        ]
        holder = lease["holder"]
        if asked_at >= self._oplog_due_at:
            self._oplog_ends = self._ask_oplog()
        first, last = self._oplog_ends
        position = self._checkpoints.position()
        return Outlook(
            asked_at,
            server_time=lease["now"].timestamp(),
            holder=_short(holder),
            term=int(lease["term"]),
            held=lease["held"],
            ours=holder == self._holder,
            standbys=tuple(_short(name) for name in seen if name != holder)[:NAMES],
            checkpoint_time=None if position is None else position.time,
            oplog_first=first,
            oplog_last=last,
        )

    def _ask_oplog(self) -> tuple[int | None, int | None]:
        """Return when the oldest and the newest entry were written; None without the right to read them."""
        self._oplog_due_at = time.monotonic() + OPLOG_EVERY_S
        try:
            ends = [self._oplog.find_one({}, {"ts": 1}, sort=[("$natural", way)]) for way in (1, -1)]
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:
                self._oplog_due_at = time.monotonic() + REFUSED_EVERY_S
            return None, None
        first, last = (end["ts"].time if end else None for end in ends)
        return first, last

    def _standby(self, holder: object) -> Any:
        return state.key(self._database, "standby", holder=holder)

    @property
    def _standbys(self) -> dict[str, Any]:
        return {"$gt": self._standby(MinKey()), "$lt": self._standby(MaxKey())}


def _short(name: str) -> str:
    return name.encode()[:NAME_BYTES].decode(errors="ignore")
