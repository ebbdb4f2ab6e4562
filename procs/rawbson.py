"""Walking over and building raw BSON without decoding it, so that whatever is not touched stays bit for bit.

A *value* is the type byte of an element followed by the bytes of its value, as in `messages.Id`.
Structure is checked only as far as it is walked; what is skipped is taken as it is.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import bson

DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, UNDEFINED = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
OBJECT_ID, BOOL, DATE, NULL, REGEX, DB_POINTER = 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C
CODE, SYMBOL, CODE_WITH_SCOPE, INT32, TIMESTAMP = 0x0D, 0x0E, 0x0F, 0x10, 0x11
INT64, DECIMAL128, MAX_KEY, MIN_KEY = 0x12, 0x13, 0x7F, 0xFF

FIXED_SIZES = {
    DOUBLE: 8,
    UNDEFINED: 0,
    OBJECT_ID: 12,
    BOOL: 1,
    DATE: 8,
    NULL: 0,
    INT32: 4,
    TIMESTAMP: 8,
    INT64: 8,
    DECIMAL128: 16,
    MAX_KEY: 0,
    MIN_KEY: 0,
}

# These begin with an int32 length; the figure is what the value takes beyond what that length counts.
SIZES_BEYOND_LENGTH = {
    STRING: 4,
    DOCUMENT: 0,
    ARRAY: 0,
    BINARY: 5,
    DB_POINTER: 16,
    CODE: 4,
    SYMBOL: 4,
    CODE_WITH_SCOPE: 0,
}

EMPTY = (NULL, UNDEFINED)

# Read unsigned: a negative length then points far behind the end, and a walk can only go forward.
read_length = struct.Struct("<I").unpack_from
pack_length = struct.Struct("<I").pack

OVERRUN = (IndexError, ValueError, struct.error)
"""What walking beyond the end of the bytes raises; told to callers as MalformedDocument."""


class MalformedDocument(Exception):
    """The bytes are not a BSON document. The text never shows any of them."""

    def __init__(self) -> None:
        super().__init__("not a well-formed BSON document")


def end_of(doc: bytes, kind: int, at: int) -> int:
    """Return where the value of type `kind` that begins at `at` (after its name) ends.

    The result may lie behind the end of `doc`: whoever walks on finds out.
    """
    beyond = SIZES_BEYOND_LENGTH.get(kind)
    if beyond is not None:
        return at + beyond + int(read_length(doc, at)[0])
    size = FIXED_SIZES.get(kind)
    if size is not None:
        return at + size
    if kind == REGEX:
        return doc.index(0, doc.index(0, at) + 1) + 1
    raise MalformedDocument


def elements(doc: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and value of each element of `doc` in order, duplicates included.

    Raises MalformedDocument, at the latest after the last element.
    """
    last = len(doc) - 1
    try:
        if read_length(doc, 0)[0] != last + 1:
            raise MalformedDocument
        at = 4
        while kind := doc[at]:
            value_at = doc.index(0, at) + 1
            after = end_of(doc, kind, value_at)
            if after > last:
                raise MalformedDocument
            yield doc[at + 1 : value_at - 1], doc[at : at + 1] + doc[value_at:after]
            at = after
    except OVERRUN:
        raise MalformedDocument from None
    if at != last:
        raise MalformedDocument


def field(doc: bytes, name: bytes) -> bytes | None:
    """Return the value of the first top-level element called `name`, or None."""
    return next((value for each, value in elements(doc) if each == name), None)


def document(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the document made of (name, value) pairs; a name holds no NUL."""
    body = b"".join([b"%b%b\0%b" % (value[:1], name, value[1:]) for name, value in pairs])
    return pack_length(len(body) + 5) + body + b"\0"


def array(values: Iterable[bytes]) -> bytes:
    """Return the array of `values`, itself a value."""
    return b"\x04" + document((b"%d" % index, value) for index, value in enumerate(values))


def value(obj: Any) -> bytes:
    """Return the value that pymongo encodes `obj` to; raises what `bson.encode` raises."""
    encoded = bson.encode({"": obj})
    return encoded[4:5] + encoded[6:-1]


def documents_in(array: bytes) -> list[bytes]:
    """Return the documents of which `array`, a value, consists."""
    documents = []
    find_nul = array.index
    at, end = 5, len(array) - 1
    try:
        while at < end:
            if array[at] != DOCUMENT:
                raise MalformedDocument
            at = find_nul(0, at) + 1
            after = at + read_length(array, at)[0]
            if after < at + 5 or after > end:
                raise MalformedDocument
            documents.append(array[at:after])
            at = after
    except OVERRUN:
        raise MalformedDocument from None
    return documents


def split(row: bytes) -> list[bytes]:
    """Return the documents that stand one behind the other in `row`."""
    documents = []
    at, end = 0, len(row)
    while at < end:
        try:
            after = at + read_length(row, at)[0]
        except struct.error:
            raise MalformedDocument from None
        if after < at + 5 or after > end:
            raise MalformedDocument
        documents.append(row[at:after])
        at = after
    return documents
