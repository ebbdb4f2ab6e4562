"""Ends every open transaction of every instance: what read the source too long ago must not commit now.

Each process registers its session before its first transaction, and each transaction first reads that it is
still registered. `raise_fence` takes all registrations back and ends the sessions: a transaction that began
earlier fails with 251 (NoSuchTransaction) at its next write or commit, one that begins later finds itself
fenced; either is run again, from a fresh snapshot, under a new registration.

    {_id: {kind: "session", source, mirror, lsid}, user, at[, fenced, fence]}
"""

import hashlib
import logging
from typing import Any
from uuid import uuid4

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from procs import state
from procs.checkpoint import Checkpoints
from procs.config import Database
from procs.errors import TemporaryError
from procs.mongo import UNAUTHORIZED

log = logging.getLogger(__name__)

TRANSACTION_LASTS_S = 70.0
"""A server ends a transaction after transactionLifetimeLimitSeconds (60), and looks a few times a minute."""


class Fenced(Exception):
    """The session of this transaction is not registered any more."""


class Registration:
    """Keeps the session of one process registered.

    `policy` is the fingerprint of the anonymisation that it writes with: a mirror that was taken over by an
    instance with another one is not written any more.
    """

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database, policy: str | None) -> None:
        self._client = client
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
            {
                "$set": {"user": _user_of(self._client)},
                "$currentDate": {"at": True},
                "$unset": {"fenced": "", "fence": ""},
            },
            upsert=True,
        )
        # After the write: whoever changes the policy later raises a fence after that, and finds this session.
        if self._policy is not None and self._checkpoints.policy() not in (None, self._policy):
            raise TemporaryError(
                "another instance mirrors with another anonymisation policy: give all the same ANON_*"
            )
        self._registered = True

    def confirm(self, session: ClientSession) -> None:
        """Let the transaction of `session` go on if no fence was raised before it. Raises Fenced."""
        mine = self._states.find_one({"_id": self._key(session)}, session=session)
        if mine is None or "fenced" in mine:
            self._registered = False
            raise Fenced

    def _key(self, session: ClientSession) -> Any:
        return state.key(self._database, "session", lsid=session.session_id["id"])


def raise_fence(client: "MongoClient[dict[str, Any]]", database: Database) -> float:
    """End all registered sessions. A failure must block the scan that follows.

    Returns for how many seconds a transaction may still be open that this user may not end: the scan must
    wait for so long.
    """
    states = state.collection(client, database)
    ours = {"_id.kind": "session", "_id.source": database.source, "_id.mirror": database.mirror}
    # Marked first and deleted last: one that dies in between leaves the next one all that it needs.
    states.update_many(
        {**ours, "fenced": {"$exists": False}},
        {"$currentDate": {"fenced": True}, "$set": {"fence": uuid4().hex}},
    )
    sessions = list(states.find(ours))
    own_user = _user_of(client)
    own = [{"id": each["_id"]["lsid"]} for each in sessions if each.get("user") == own_user]
    if own:
        client.admin.command("killSessions", own)
        _forget(states, [each for each in sessions if each.get("user") == own_user])
    foreign = [each for each in sessions if each.get("user") != own_user]
    log.debug("%d sessions ended", len(sessions), extra={"event": "fence_raised", "sessions": len(sessions)})
    return _end_foreign(client, states, ours, foreign) if foreign else 0.0


def _end_foreign(
    client: "MongoClient[dict[str, Any]]",
    states: "Collection[dict[str, Any]]",
    ours: dict[str, Any],
    sessions: list[dict[str, Any]],
) -> float:
    """End sessions of other users, which takes the right killAnySession; else tell how long they may last."""
    try:
        for each in sessions:
            digest = hashlib.sha256((each.get("user") or "").encode()).digest()
            pattern = {"lsid": {"id": each["_id"]["lsid"], "uid": digest}}
            client.admin.command("killAllSessionsByPattern", [pattern])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
    else:
        _forget(states, sessions)
        return 0.0
    lasts = {"$subtract": ["$$NOW", int(TRANSACTION_LASTS_S * 1000)]}
    states.delete_many({**ours, "fenced": {"$exists": True}, "$expr": {"$lt": ["$fenced", lasts]}})
    return TRANSACTION_LASTS_S if states.find_one({**ours, "fenced": {"$exists": True}}) else 0.0


def _forget(states: "Collection[dict[str, Any]]", ended: list[dict[str, Any]]) -> None:
    """Delete these registrations, unless one was renewed since: another fence may just be about to end it."""
    for each in ended:
        if "fence" in each:  # else it was made after the mark
            states.delete_one({"_id": each["_id"], "fence": each["fence"]})


def _user_of(client: "MongoClient[dict[str, Any]]") -> str | None:
    """Return `user@database`, of which the server makes the owner of a session; None without a login."""
    users = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return f"{users[0]['user']}@{users[0]['db']}" if users else None
