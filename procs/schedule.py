"""When the next scheduled verify is due, and what the last one found: in the state, by the server's clock.

    {_id: {kind: "verify", source, mirror}, at, compared, missing, stale, orphaned, unmirrorable, seconds,
     repaired}

So a daemon that restarts every hour still verifies every day, and whoever takes over goes on where it was.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient

from procs import state
from procs.config import Database
from procs.messages import Gauge

FIGURES = ("compared", "missing", "stale", "orphaned", "unmirrorable", "seconds", "repaired")


class Schedule:
    """The schedule of one source and mirror."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        self._states = state.collection(client, database)
        self._key = state.key(database, "verify")

    def look(self, every_s: float) -> tuple[float, dict[str, Any]]:
        """Return in how many seconds the next one is due, and the figures of the last, if there was one."""
        at = {"$convert": {"input": "$at", "to": "date", "onError": None, "onNull": None}}
        age = {"$subtract": ["$$NOW", at]}
        for found in self._states.aggregate(
            [{"$match": {"_id": self._key}}, {"$set": {"at": at, "age": age}}]
        ):
            if isinstance(found["at"], datetime):
                left_s = every_s - found["age"] / 1000
                # One that lies in the future is of no use: the clock has been set back.
                return (left_s if left_s <= every_s else 0.0), _figures(found)
        return 0.0, {}

    def note(self, figures: Mapping[str, Gauge]) -> None:
        """One has ended just now, with these figures."""
        self._states.update_one({"_id": self._key}, [{"$set": {**figures, "at": "$$NOW"}}], upsert=True)


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    at = found["at"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    numbers = {name: found.get(name) for name in FIGURES}
    return {"at": at} | {
        name: each if isinstance(each, int | float) else None for name, each in numbers.items()
    }
