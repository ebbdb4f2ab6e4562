"""The writes that the mirror is made with: an image bit for bit, and the touch that changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import DeleteMany, InsertOne, ReplaceOne, UpdateMany, UpdateOne

from procs import rawbson
from procs.messages import Id
from procs.selection import any_of, exactly

MAX_DOCUMENT = 16 * 1024 * 1024
"""https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size"""

ROOM_FOR_TOUCH = 100
"""A document with less room than that is touched in another way."""

EMPTY_TIMESTAMP = bytes([rawbson.TIMESTAMP]) + bytes(8)


class Image(RawBSONDocument):
    """What is written, as it is.

    pymongo asks a replacement whether it is empty, for which a RawBSONDocument is decoded: that takes time,
    and fails on what Python cannot hold (year 10000, a string that is not UTF-8).
    """

    def __bool__(self) -> bool:
        """Tell that it is not empty: it has an `_id`."""
        return True


Write = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | UpdateMany | DeleteMany


def insert(id_: Id, image: bytes) -> list[Write]:
    """Return the writes that add `image`."""
    added: list[Write] = [InsertOne(Image(image))]
    return [*added, _exact(id_, image)] if _has_empty_timestamp(image) else added


def replace(id_: Id, image: bytes) -> Write:
    """Return the write that puts `image` in the place of what is there."""
    if _has_empty_timestamp(image) or _has_dollar_name(image):
        return _exact(id_, image)
    return ReplaceOne(exactly(id_), Image(image))


def touch(ids: Sequence[Id], images: Mapping[Id, bytes]) -> list[Write]:
    """Return writes on these images, and on the absence of those that are not there, which change nothing."""
    name = _unused_name(images.values())
    absent = [id_ for id_ in ids if id_ not in images]
    full = [id_ for id_ in ids if len(images.get(id_, b"")) > MAX_DOCUMENT - ROOM_FOR_TOUCH - len(name)]
    roomy = [id_ for id_ in ids if id_ not in full]
    # An absent customer may still be found under an `_id` of equal value (1 and 1.0): then nothing is
    # inserted, the delete passes it by and the last update restores it.
    writes: list[Write] = [UpdateMany(any_of(roomy), {"$set": {name: 1}})]
    for id_ in absent:
        marks = {"$set": {name: 1}, "$setOnInsert": {name + "_absent": 1}}
        writes.append(UpdateOne(exactly(id_), marks, upsert=True))
    if absent:
        writes.append(DeleteMany(any_of(absent, having=name + "_absent")))
    writes.append(UpdateMany(any_of(roomy), {"$unset": {name: ""}}))
    for id_ in full:  # emptied for a moment, which nobody sees outside of the transaction
        writes += [ReplaceOne(exactly(id_), {}), replace(id_, images[id_])]
    return writes


def _exact(id_: Id, image: bytes) -> UpdateOne:
    """Return the slower write that takes `image` as it is, whatever it holds."""
    return UpdateOne(exactly(id_), [{"$replaceWith": {"$literal": Image(image)}}])


def _has_empty_timestamp(image: bytes) -> bool:
    """Tell whether an insert or a replacement would fill in the present time."""
    return bytes(9) in image and any(value == EMPTY_TIMESTAMP for _, value in rawbson.elements(image))


def _has_dollar_name(image: bytes) -> bool:
    """Tell whether the server would refuse `image` as a replacement (though an insert may have it)."""
    return b"$" in image and any(name.startswith(b"$") for name, _ in rawbson.elements(image))


def _unused_name(documents: Iterable[bytes]) -> str:
    """Return a field name that none of `documents` has at any level."""
    name = "_clientsync_touch"
    while any(name.encode() in document for document in documents):
        name += "_"
    return name
