"""Anonymises customers of one shape at a stroke.

Customers that have the same fields of the same types in the same order have one *shape*, and differ in their
values only. A regular expression made from one of them takes a thousand others apart in a single step. What
stands at one place in all of them is a column, which takes a step again, where walking takes a step for each
element of each customer. Whatever does not fit is left to the walk; both give the same bytes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from struct import pack
from typing import Literal, TypeAlias

from procs import rawbson
from procs.rawbson import DOCUMENT, EMPTY, FIXED_SIZES, STRING, pack_length, read_length

# What happens to an element: an action, or for the parent of a dotted path the table of what lies below.
Action = Literal["copy", "drop", "hash", "email"]
Rules: TypeAlias = "dict[bytes, Action | Rules]"

LENGTH, TEXT = b"(....)", rb"([^\0]*)"

MOST_TEXTS = 100

Column = Sequence[bytes]
HashAll = Callable[[Column], list[bytes]]
"""Replaces each of many texts."""


class NoShape(Exception):
    """The customer has a value whose length varies and that is neither text nor a document of such values."""


@dataclass
class _Document:
    """The customer or a document in it. Texts are named by their number among all texts."""

    head: int
    """Group of its length."""
    first: int
    """The first text in it."""
    last: int = 0
    """The text behind it."""
    beside: int = 0
    """How many bytes it has beside its texts."""

    def sizes(self, lengths: Sequence[list[int]], count: int) -> list[int]:
        """Return how large it is in each of `count` customers whose texts have these `lengths`."""
        texts = lengths[self.first : self.last]
        return list(map(sum, zip(repeat(self.beside, count), *texts, strict=True)))


class Shape:
    """Rewrites customers that are laid out like `doc`.

    `rules` and `default` say what happens to a field, `hash_all` makes `hash_length` characters of each text.
    Raises NoShape, or what walking over broken BSON raises.
    """

    def __init__(
        self, doc: bytes, rules: Rules, default: Action, hash_all: HashAll, hash_length: int
    ) -> None:
        self._hash_all = hash_all
        self._hash_length = hash_length
        self._expression = b""
        self._groups = 0
        """How many groups it has: they are what varies."""
        self._fixed = b""
        self._constant: bytes | None = b""
        """What `_fixed` matches, if that is the same in all customers."""
        self._pieces: list[bytes | int] = []
        """What the twin consists of: what is the same in all, and groups."""
        self._texts: list[int] = []
        """Which groups are texts, without their NUL; the group before holds the length, with it."""
        self._lengths: list[int] = []
        """How long the texts of `doc` are."""
        self._hashed: list[int] = []
        self._emails: list[int] = []
        """Which texts are replaced."""
        self._documents: list[_Document] = []
        self._lay_out(doc, 0, rules, default)
        self._end_fixed()
        if not 2 <= len(self._texts) <= MOST_TEXTS:
            raise NoShape  # nothing to gain, or too long to compile
        self._pattern = re.compile(self._expression, re.DOTALL)

    def fits(self, doc: bytes) -> bool:
        """Tell whether `doc` has this shape, as far as is seen without looking at its lengths."""
        return self._pattern.fullmatch(doc) is not None

    def __call__(self, docs: Sequence[bytes]) -> bytes | None:
        """Return `docs` anonymised, one behind the other; None if one of them has another shape."""
        joined = b"".join(docs)
        columns: list[Column] = list(zip(*self._pattern.findall(joined), strict=True))
        if not columns or len(columns[0]) != len(docs):
            return None
        lengths = [list(map(len, columns[group])) for group in self._texts]
        # A text may hold a NUL: its group ends there, and not where its length says.
        for group, each in zip(self._texts, lengths, strict=True):
            if b"".join(columns[group - 1]) != pack(f"<{len(docs)}I", *map((1).__add__, each)):
                return None
        for document in self._documents:
            sizes = document.sizes(lengths, len(docs))
            if b"".join(columns[document.head]) != pack(f"<{len(docs)}I", *sizes):
                return None
            if document.head == 0 and sum(sizes) != len(joined):
                return None  # something lies between those that were found
        self._replace(columns, lengths)
        parts = [b""] * (len(docs) * len(self._pieces))
        for at, piece in enumerate(self._pieces):
            parts[at :: len(self._pieces)] = columns[piece] if isinstance(piece, int) else [piece] * len(docs)
        return b"".join(parts)

    def _replace(self, columns: list[Column], lengths: list[list[int]]) -> None:
        """Put hashes into `columns` whose texts have these `lengths`."""
        count = len(columns[0])
        for number in self._hashed:
            group = self._texts[number]
            columns[group] = self._hash_all(columns[group])
            lengths[number] = [self._hash_length] * count
        for number in self._emails:
            group = self._texts[number]
            halves = [text.rpartition(b"@") for text in columns[group]]
            hashes = self._hash_all([before if at else text for before, at, text in halves])
            columns[group] = texts = [
                made + at + after if at else made for made, (_, at, after) in zip(hashes, halves, strict=True)
            ]
            lengths[number] = list(map(len, texts))
            columns[group - 1] = [pack_length(length + 1) for length in lengths[number]]
        for document in self._documents:
            columns[document.head] = list(map(pack_length, document.sizes(lengths, count)))

    def _lay_out(self, doc: bytes, start: int, rules: Rules, default: Action) -> None:
        document = _Document(self._add_group(LENGTH), len(self._texts))
        self._documents.append(document)
        self._add_piece(document.head)
        at = start + 4
        while kind := doc[at]:
            value_at = doc.index(0, at) + 1
            after = rawbson.end_of(doc, kind, value_at)
            action = rules.get(doc[at + 1 : value_at - 1], default)
            if isinstance(action, dict) and kind != DOCUMENT:
                action = default
            self._add_constant(doc[at:value_at])
            if kind == DOCUMENT and isinstance(action, dict):
                self._lay_out(doc, value_at, action, default)
            elif kind == DOCUMENT and action == "copy":
                self._lay_out(doc, value_at, {}, "copy")
            elif kind == STRING and action in ("copy", "hash", "email"):
                self._lay_out_text(after - value_at - 5, action)
            elif kind in FIXED_SIZES and (action == "copy" or (kind in EMPTY and action != "drop")):
                self._fixed += b".{%d}" % FIXED_SIZES[kind]
                self._constant = None
            else:
                raise NoShape
            at = after
        self._add_constant(b"\0")
        document.last = len(self._texts)
        document.beside = read_length(doc, start)[0] - sum(self._lengths[document.first :])

    def _lay_out_text(self, length: int, action: Action | Rules) -> None:
        length_of_text = self._add_group(LENGTH)
        self._add_piece(pack_length(self._hash_length + 1) if action == "hash" else length_of_text)
        group = self._add_group(TEXT)
        self._add_piece(group)
        self._add_constant(b"\0")
        if action == "hash":
            self._hashed.append(len(self._texts))
        elif action == "email":
            self._emails.append(len(self._texts))
        self._texts.append(group)
        self._lengths.append(length)

    def _add_constant(self, constant: bytes) -> None:
        self._fixed += re.escape(constant)
        if self._constant is not None:
            self._constant += constant

    def _end_fixed(self) -> None:
        """Put what is fixed behind the expression: as a group only if it differs between customers."""
        if self._constant is None:
            self._expression += b"(%b)" % self._fixed
            self._add_piece(self._groups)
            self._groups += 1
        else:
            self._expression += self._fixed
            self._add_piece(self._constant)
        self._fixed = self._constant = b""

    def _add_group(self, group: bytes) -> int:
        """Put another group behind the expression, and return which it is."""
        self._end_fixed()
        self._expression += group
        self._groups += 1
        return self._groups - 1

    def _add_piece(self, piece: bytes | int) -> None:
        last = self._pieces[-1] if self._pieces else 0
        if isinstance(last, bytes) and isinstance(piece, bytes):
            self._pieces[-1] = last + piece
        elif piece != b"":
            self._pieces.append(piece)
