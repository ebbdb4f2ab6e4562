"""Which collections source and mirror are: one that was dropped and made again has another UUID."""

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, ReadPreference

from procs.config import Database


@dataclass(frozen=True)
class Identity:
    """The UUIDs of both; None: there is no such collection."""

    source: bytes | None = None
    mirror: bytes | None = None


def look(client: "MongoClient[dict[str, Any]]", database: Database) -> Identity:
    """Return what is there now."""
    both = client.get_database(database.name, read_preference=ReadPreference.PRIMARY)
    names = {"name": {"$in": [database.source, database.mirror]}}
    found = {each["name"]: each["info"].get("uuid") for each in both.list_collections(filter=names)}
    return Identity(found.get(database.source), found.get(database.mirror))
