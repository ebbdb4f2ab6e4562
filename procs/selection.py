"""Filters over raw `_id`s. They are built from bytes: decoding an id could change it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bson.raw_bson import RawBSONDocument

from procs import rawbson
from procs.messages import Id

OBJECT_ID = bytes([rawbson.OBJECT_ID])
OBJECT_ID_FIRST = OBJECT_ID + b"_id\0"
PLAIN_TYPES = bytes([rawbson.OBJECT_ID, rawbson.STRING, rawbson.INT32, rawbson.INT64, rawbson.BINARY])
"""Of values that no filter can take for anything but themselves."""


@dataclass(frozen=True)
class Range:
    """All ids above `after` up to and with `until`, in the server's order over all types; None is open."""

    after: Id | None
    until: Id | None


def nested(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a sub-document, itself a value."""
    return bytes([rawbson.DOCUMENT]) + rawbson.document(pairs)


def id_of(document: bytes, name: bytes = b"_id") -> Id:
    """Return the value of a field that every such document has."""
    if document[4:9] == OBJECT_ID_FIRST and name == b"_id":  # nearly always, and ten times as fast
        return OBJECT_ID + document[9:21]
    found = rawbson.field(document, name)
    if found is None:
        raise rawbson.MalformedDocument
    return found


def any_of(ids: Sequence[Id], *, having: str | None = None) -> RawBSONDocument:
    """Return the filter for these ids; `having` asks for the presence of a field besides."""
    pairs = [(b"_id", nested([(b"$in", rawbson.array(ids))]))]
    if having is not None:
        pairs.append((having.encode(), rawbson.value({"$exists": True})))
    return RawBSONDocument(rawbson.document(pairs))


def exactly(id_: Id) -> RawBSONDocument:
    """Return the filter for one id; an upsert with it creates the document under this id."""
    if id_[0] in PLAIN_TYPES:
        # Before version 8.1 the server plans a query with $eq at full length: a write takes twice as long.
        return RawBSONDocument(rawbson.document([(b"_id", id_)]))
    # A bare sub-document would do too, but one whose first key begins with $ would be read as an operator.
    return RawBSONDocument(rawbson.document([(b"_id", nested([(b"$eq", id_)]))]))


def in_range(span: Range) -> RawBSONDocument:
    """Return the filter for `span`. A bare $gt stays within its own type; $expr compares all of them."""
    bounds = [
        (operator, rawbson.array([rawbson.value("$_id"), nested([(b"$literal", bound)])]))
        for operator, bound in ((b"$gt", span.after), (b"$lte", span.until))
        if bound is not None
    ]
    if not bounds:
        return RawBSONDocument(rawbson.document([]))
    every = rawbson.array([nested([bound]) for bound in bounds])
    return RawBSONDocument(rawbson.document([(b"$expr", nested([(b"$and", every)]))]))
