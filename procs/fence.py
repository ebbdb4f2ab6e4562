"""Ends every open transaction of every instance: what read the source too long ago must not commit now.

Each process registers its session before its first transaction. After `raise_fence`, any transaction that
began earlier fails with 251 (NoSuchTransaction) at its next write or commit, and its owner copies again.
"""

import logging
from datetime import timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from procs import state
from procs.config import Database

log = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
"""A server forgets an idle session after 30 minutes (localLogicalSessionTimeoutMinutes)."""

REFRESH_S = 600.0


class Registration:
    """Keeps the session of one process registered, as long as it uses it."""

    def __init__(self, states: "Collection[dict[str, Any]]", database: Database) -> None:
        self._states = states
        self._database = database
        self._lsid: bytes | None = None
        self._at = float("-inf")

    def ensure(self, session: ClientSession, now: float) -> None:
        """Register `session` unless that was done lately; `now` is a monotonic time in seconds.

        Must come before a transaction begins: a session that nobody knows cannot be fenced.
        """
        lsid = bytes(session.session_id["id"])
        if lsid == self._lsid and now - self._at < REFRESH_S:
            return
        self._states.update_one(
            {"_id": state.key(self._database, "session", lsid=session.session_id["id"])},
            {"$currentDate": {"usedAt": True}},
            upsert=True,
        )
        self._lsid, self._at = lsid, now


def raise_fence(client: "MongoClient[dict[str, Any]]", database: Database) -> int:
    """End all registered sessions; return how many. A failure must block the scan that follows."""
    states = state.collection(client, database)
    ours = {"_id.kind": "session", "_id.source": database.source, "_id.mirror": database.mirror}
    states.delete_many(
        {**ours, "$expr": {"$lt": ["$usedAt", {"$subtract": ["$$NOW", int(KEPT.total_seconds() * 1000)]}]}}
    )
    sessions = [{"id": found["_id"]["lsid"]} for found in states.find(ours, {"_id": 1})]
    if sessions:
        client.admin.command("killSessions", sessions)
    log.debug("%d sessions ended", len(sessions), extra={"event": "fence_raised", "sessions": len(sessions)})
    return len(sessions)
