"""Customers to mirror, and what their mirror must look like, byte for byte."""

from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection

from procs.copied import Copied
from procs.messages import Id
from procs.mirror import Mirror
from procs.mongo import RAW
from procs.rawbson import value
from procs.selection import Range, id_of

Customers = Collection[Any]
Rename = Callable[[str], object]
EVERYTHING = Range(None, None)


def customer(id_: Any, name: str = "John") -> dict[str, Any]:
    return {"_id": id_, "firstName": name, "email": f"{name}@example.com", "n": 1}


def ids(*objects: Any) -> list[Id]:
    return [value(each) for each in objects]


def bytes_by_id(collection: Customers) -> dict[bytes, bytes]:
    found = collection.with_options(RAW).find()
    return {id_of(bytes(each.raw)): bytes(each.raw) for each in found}


def images(source: Customers, anonymise: Callable[[bytes], bytes]) -> dict[bytes, bytes]:
    return {key: anonymise(document) for key, document in bytes_by_id(source).items()}


def walk(mirror: Mirror, limit: int) -> tuple[Copied, int]:
    """Copy everything; return what was done and in how many chunks."""
    rest: Range | None = EVERYTHING
    total, chunks = Copied(), 0
    while rest is not None:
        copied, rest = mirror.copy_range(rest, limit)
        total, chunks = total + copied, chunks + 1
    return total, chunks
