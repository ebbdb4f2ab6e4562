"""Who is active on the stream: one holder at a time, by the server's clock alone.

    {_id: {kind: "lease", …}, holder, term, expiresAt}

The term grows with every change of hands; checkpoints carry it. The lease saves work. Safety does not rest on
it: a holder that was stalled and wakes up is stopped by the fence and by first-committer-wins.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from pymongo import MongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from procs import state
from procs.config import Database

LONG_S = 0.5
"""A call that takes longer is a long one: together with a second between two beats less than any hang."""

T = TypeVar("T")


class LeaseLost(Exception):
    """Another instance became active; this one must stand by."""


class Lease:
    """One instance's view of the lease: `holder` names it, `lease_ms` is how long it holds unrenewed."""

    def __init__(
        self, client: "MongoClient[dict[str, Any]]", database: Database, holder: str, lease_ms: int
    ) -> None:
        self._states = state.collection(client, database)
        self._key = state.key(database, "lease")
        self._holder = holder
        self._lease_ms = lease_ms
        self._expiry = {"$add": ["$$NOW", lease_ms]}
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long call")
        self.term = 0

    def acquire(self) -> bool:
        """Take the lease if it is free, expired or already this instance's; a new term begins."""
        expires = {"$ifNull": ["$expiresAt", "$$NOW"]}
        free = {"$or": [{"$eq": ["$holder", self._holder]}, {"$lte": [expires, "$$NOW"]}]}
        term = {"$add": [{"$ifNull": ["$term", 0]}, 1]}
        taken = {"holder": self._holder, "term": term, "expiresAt": self._expiry}
        try:
            lease = self._states.find_one_and_update(
                {"_id": self._key},
                [{"$set": {name: {"$cond": [free, new, f"${name}"]} for name, new in taken.items()}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:  # another instance created it in the same moment
            return False
        if lease is None or lease["holder"] != self._holder:
            return False
        self.term = lease["term"]
        return True

    def current_holder(self) -> str | None:
        """Return who is active now; None: nobody."""
        held = {"_id": self._key, "$expr": {"$gt": ["$expiresAt", "$$NOW"]}}
        found = self._states.find_one(held, {"holder": 1})
        return None if found is None else str(found["holder"])

    def is_held(self) -> bool:
        """Tell whether any instance is active now."""
        return self.current_holder() is not None

    def hold_during(self, action: Callable[[], T], announce: Callable[[], None]) -> T:
        """Return what `action` returns, which may take minutes: it runs in a side thread, to keep the lease.

        Calls `announce` once if it takes long. Raises what `action` raises.
        """
        under_way = self._aside.submit(action)
        every_s = min(LONG_S, self._lease_ms / 3000)
        if not wait((under_way,), every_s).done:
            announce()
        while not wait((under_way,), every_s).done:
            with suppress(PyMongoError, LeaseLost):  # the next renewal of the work loop tells
                # Without the time-out of whoever called: that may be over.
                Context().run(self.renew)
        return under_way.result()

    def close(self) -> None:
        """End the side thread."""
        self._aside.shutdown()

    def renew(self) -> None:
        """Hold on for another `lease_ms`. Raises LeaseLost if another instance has taken over."""
        found = self._states.update_one(
            {"_id": self._key, "holder": self._holder, "term": self.term},
            [{"$set": {"expiresAt": self._expiry}}],
        )
        if not found.matched_count:
            raise LeaseLost

    def release(self) -> None:
        """Let the next instance take over at once."""
        self._states.update_one(
            {"_id": self._key, "holder": self._holder, "term": self.term}, [{"$set": {"expiresAt": "$$NOW"}}]
        )
