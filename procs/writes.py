"""The writes that the mirror is made with: an image bit for bit, and the touch that changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from bson.binary import Binary
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from procs import rawbson
from procs.messages import Id
from procs.selection import OBJECT_ID, any_of, exactly, nested

MAX_DOCUMENT = 16 * 1024 * 1024
"""https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size"""

MAX_COMMAND = 12 * 1024 * 1024
"""How large the images of one insert command may be together: well below the limit of a document."""

ROOM_FOR_TOUCH = 100
"""A document with less room than that is touched in another way."""

EMPTY_TIMESTAMP = bytes([rawbson.TIMESTAMP]) + bytes(8)

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
BAD_VALUE = 2


class Image(RawBSONDocument):
    """What is written, as it is.

    pymongo asks a replacement whether it is empty, for which a RawBSONDocument is decoded: that takes time,
    and fails on what Python cannot hold (year 10000, a string that is not UTF-8).
    """

    def __bool__(self) -> bool:
        """Tell that it is not empty: it has an `_id`."""
        return True


OF_OBJECT_ID = rawbson.document([(b"q", nested([(b"_id", OBJECT_ID + bytes(12))]))])[4:-14]
"""What an update statement begins with, from its length up to an ObjectId."""

Write = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | UpdateMany | DeleteOne | DeleteMany


def insert(images: Mapping[Id, bytes]) -> list[Write]:
    """Return the writes that add `images`, in a bulk. Raises BulkWriteError for what MongoDB cannot take."""
    added: list[Write] = [InsertOne(Image(image)) for image in images.values()]
    # One after the other, for a bulk sends those of one kind together.
    return added + [_exact(id_, image) for id_, image in images.items() if _has_empty_timestamp(image)]


class _Row(Image):
    """Documents one behind the other. That is how pymongo sends the documents of an insert."""

    def __init__(self, documents: bytes) -> None:
        self._documents = documents

    @property
    def raw(self) -> bytes:
        """Return what pymongo puts into the message."""
        return self._documents


def insert_plainly(collection: Collection[Any], images: bytes, session: ClientSession) -> None:
    """Insert `images`, one behind the other in at most MAX_COMMAND, none of which has an empty timestamp.

    A bulk wraps each image by itself and takes half as long again. Raises BulkWriteError as that does.
    """
    documents = [_Row(images)]
    reply = collection.database.command("insert", collection.name, documents=documents, session=session)
    if "writeErrors" in reply:
        raise BulkWriteError(reply)


def are_replaceable(images: bytes) -> bool:
    """Tell whether replacements take all of `images`, one behind the other, as they are."""
    if bytes(9) not in images and b"$" not in images:
        return True
    return all(map(is_replaceable, rawbson.split(images)))


def is_replaceable(image: bytes) -> bool:
    """Tell whether a replacement takes `image` as it is."""
    return not _has_empty_timestamp(image) and not _has_dollar_name(image)


def replace_each(collection: Collection[Any], images: Mapping[Id, bytes], session: ClientSession) -> int:
    """Put replaceable `images` in the place of what is there, without an object for each.

    Returns how many were there and differed: the server writes no other. Raises BulkWriteError.
    """
    row, statements = 0, list[list[bytes]]([[]])
    for id_, image in images.items():
        if row + len(image) > MAX_COMMAND and statements[-1]:
            row = 0
            statements.append([])
        row += len(image)
        statements[-1].append(_replacement(id_, image))
    modified = 0
    for each in statements:
        reply: Any = collection.database.command(
            "update", collection.name, updates=[_Row(b"".join(each))], session=session
        )
        if "writeErrors" in reply:
            raise BulkWriteError(reply)
        modified += reply["nModified"]
    return modified


def _replacement(id_: Id, image: bytes) -> bytes:
    """Return the statement of an update command that puts the replaceable `image` in its place."""
    if id_.startswith(OBJECT_ID):  # nearly always, and three times as fast
        body = OF_OBJECT_ID + id_[1:] + b"\0\x03u\0" + image
        return rawbson.pack_length(len(body) + 5) + body + b"\0"
    return rawbson.document([(b"q", b"\x03" + bytes(exactly(id_).raw)), (b"u", b"\x03" + image)])


def replace(id_: Id, image: bytes) -> list[Write]:
    """Return the writes that put `image` in the place of what is there. Raises BulkWriteError as `insert`."""
    if is_replaceable(image):
        return [ReplaceOne(exactly(id_), Image(image))]
    # Not by a pipeline, which takes any image: MongoDB 6.0.5 ends if it has to tell two documents apart in
    # whom a name occurs twice (invariant in DocumentSubDiffNode::addChild).
    return [DeleteOne(exactly(id_)), *insert({id_: image})]


def touch(ids: Sequence[Id], images: Mapping[Id, bytes], unique: Iterable[str] = ()) -> list[Write]:
    """Return writes on these images, and on the absence of those that are not there, which change nothing.

    What is inserted for a moment gets values of its own in the fields `unique`.
    """
    name = _unused_name(images.values())
    absent = [id_ for id_ in ids if id_ not in images]
    full = [id_ for id_ in ids if len(images.get(id_, b"")) > MAX_DOCUMENT - ROOM_FOR_TOUCH - len(name)]
    roomy = [id_ for id_ in ids if id_ not in full]
    # An absent customer may still be found under an `_id` of equal value (1 and 1.0): then nothing is
    # inserted, the delete passes it by and the last update restores it.
    writes: list[Write] = [UpdateMany(any_of(roomy), {"$set": {name: 1}})]
    for id_ in absent:
        own = {field: Binary.from_uuid(uuid4()) for field in unique}
        marks = {"$set": {name: 1}, "$setOnInsert": {name + "_absent": 1, **own}}
        writes.append(UpdateOne(exactly(id_), marks, upsert=True))
    if absent:
        writes.append(DeleteMany(any_of(absent, having=name + "_absent")))
    writes.append(UpdateMany(any_of(roomy), {"$unset": {name: ""}}))
    for id_ in full:  # emptied for a moment, which nobody sees outside of the transaction
        writes += [ReplaceOne(exactly(id_), {}), *replace(id_, images[id_])]
    return writes


def _exact(id_: Id, image: bytes) -> UpdateOne:
    """Return the write that takes the present time out of what was just inserted. Raises BulkWriteError."""
    fields = list(rawbson.elements(image))
    names = [name for name, _ in fields]
    if any(value == EMPTY_TIMESTAMP and names.count(name) > 1 for name, value in fields):  # see `replace`
        raise BulkWriteError({"writeErrors": [{"code": BAD_VALUE}]})
    return UpdateOne(exactly(id_), [{"$replaceWith": {"$literal": Image(image)}}])


def are_plain(images: bytes) -> bool:
    """Tell whether one insert takes `images`, one behind the other, as they are."""
    if len(images) > MAX_COMMAND:
        return False
    return bytes(9) not in images or not any(map(_has_empty_timestamp, rawbson.split(images)))


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
