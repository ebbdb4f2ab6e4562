"""Which collections source and mirror are: one that was dropped and made again has another UUID."""

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.database import Database as MongoDatabase

from procs.config import Database


@dataclass(frozen=True)
class Identity:
    """The UUIDs of both; None: there is no such collection."""

    source: bytes | None = None
    mirror: bytes | None = None


def look(client: "MongoClient[dict[str, Any]]", database: Database) -> Identity:
    """Return what is there now."""
    both = client.get_database(database.name, read_preference=ReadPreference.PRIMARY)
    return look_in(both, database.source, database.mirror)


def look_in(database: "MongoDatabase[dict[str, Any]]", source: str, mirror: str) -> Identity:
    """Return what collections of these names are there now."""
    names = {"name": {"$in": [source, mirror]}}
    found = {each["name"]: each["info"].get("uuid") for each in database.list_collections(filter=names)}
    return Identity(found.get(source), found.get(mirror))
