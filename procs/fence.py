"""Ends every open transaction of every instance: what read the source too long ago must not commit now.

Each process registers its session before its first transaction, and each transaction first reads that it is
still registered. `raise_fence` takes all registrations back and ends the sessions: a transaction that began
earlier fails with 251 (NoSuchTransaction) at its next write or commit, one that begins later finds itself
fenced; either is run again, from a fresh snapshot, under a new registration.

    {_id: {kind: "session", source, mirror, lsid}, at[, fenced]}
"""

import logging
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession

from procs import state
from procs.checkpoint import Checkpoints
from procs.config import Database
from procs.errors import TemporaryError

log = logging.getLogger(__name__)


class Fenced(Exception):
    """The session of this transaction is not registered any more."""


class Registration:
    """Keeps the session of one process registered.

    `policy` is the fingerprint of the anonymisation that it writes with: a mirror that was taken over by an
    instance with another one is not written any more.
    """

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database, policy: str | None) -> None:
        self._states = state.collection(client, database)
        self._checkpoints = Checkpoints(client, database)
        self._database = database
        self._policy = policy
        self._registered = False

    def ensure(self, session: ClientSession) -> None:
        """Register `session` unless it is. Raises TemporaryError if the mirror has another policy."""
        if self._registered:
            return
        self._states.update_one(
            {"_id": self._key(session)},
            {"$currentDate": {"at": True}, "$unset": {"fenced": ""}},
            upsert=True,
        )
        # After the write: whoever changes the policy later raises a fence after that, and finds this session.
        if self._policy is not None and self._checkpoints.policy() not in (None, self._policy):
            raise TemporaryError(
                "another instance mirrors with another anonymisation policy: give all the same ANON_*"
            )
        self._registered = True

    def confirm(self, session: ClientSession) -> None:
        """Let the transaction of `session` go on only if no fence was raised before it began."""
        found = self._states.find_one({"_id": self._key(session)}, session=session)
        if found is None or "fenced" in found:
            self._registered = False
            raise Fenced

    def _key(self, session: ClientSession) -> Any:
        return state.key(self._database, "session", lsid=session.session_id["id"])


def raise_fence(client: "MongoClient[dict[str, Any]]", database: Database) -> int:
    """End all registered sessions; return how many. A failure must block the scan that follows."""
    states = state.collection(client, database)
    ours = {"_id.kind": "session", "_id.source": database.source, "_id.mirror": database.mirror}
    # Marked first and deleted last: one that dies in between leaves the next one all that it needs.
    states.update_many(ours, {"$set": {"fenced": True}})
    sessions = [{"id": found["_id"]["lsid"]} for found in states.find(ours, {"_id": 1})]
    if sessions:
        client.admin.command("killSessions", sessions)
        states.delete_many({**ours, "fenced": True})
    log.debug("%d sessions ended", len(sessions), extra={"event": "fence_raised", "sessions": len(sessions)})
    return len(sessions)
