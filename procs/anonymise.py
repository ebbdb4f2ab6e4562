"""Replaces the sensitive values of a customer by hashes; everything else is carried over bit for bit."""

import hashlib
import hmac
import json
from binascii import hexlify
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import combinations

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.json_util import CANONICAL_JSON_OPTIONS, dumps

from procs import rawbson
from procs.config import Policy
from procs.rawbson import ARRAY, DOCUMENT, EMPTY, STRING, SYMBOL, MalformedDocument
from procs.shape import Action, HashAll, NoShape, Rules, Shape

RULES_VERSION = 1
"""Part of the fingerprint: a release that hashes anything differently counts it up, so mirrors reindex."""

MIN_LENGTH, MAX_LENGTH = 8, 64

Hash = Callable[[bytes], bytes]

NO_NAMES: Rules = {}
NESTED, TEXTS = (DOCUMENT, ARRAY), (STRING, SYMBOL)

SHAPES = 4
"""How many shapes of customers are known at a time. Trying one that does not fit costs little."""

FEW = 3
"""So many customers at most are walked at once: a shape takes longer to begin with."""

TRIES, PATIENCE = 8, 1000
"""Of the customers that have none of these shapes so many are learnt from; after PATIENCE of them, anew."""

# Python's own dates end with year 9999.
ANY_DATE = CodecOptions[dict[str, object]](datetime_conversion=DatetimeConversion.DATETIME_MS)


def check_fields(fields: Sequence[str]) -> None:
    """Raise ValueError, with a text for the operator, unless `fields` can be a policy's sensitive paths."""
    if not fields:
        raise ValueError("no field is named: the mirror would show every value in clear")
    for path in fields:
        parts = path.split(".")
        if parts[0] == "_id":
            raise ValueError(f"{path!r}: _id cannot be anonymised, the mirror keeps it in clear")
        if "" in parts:
            raise ValueError(f"{path!r}: a part of the path is empty")
        for part in parts:
            if part != part.strip() or not part.isprintable():
                raise ValueError(f"{path!r}: a name has a blank at its end or an unprintable character")
            if part.startswith("$"):
                raise ValueError(f"{path!r}: a name cannot begin with $")
            if part.isdecimal():
                raise ValueError(f"{path!r}: no list positions, a path goes through all elements of a list")
    for one, other in combinations(sorted(fields), 2):
        if one == other:
            raise ValueError(f"{one!r} is named twice")
        if other.startswith(f"{one}."):
            raise ValueError(f"{one!r} already covers {other!r}: name only one of them")


def check_length(length: int) -> None:
    """Raise ValueError, with a text for the operator, unless hashes can have `length` characters."""
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise ValueError(f"{length} is outside {MIN_LENGTH}..{MAX_LENGTH} characters")


def check_key(key: bytes) -> None:
    """Raise ValueError, with a text for the operator, unless `key` can key the hashes."""
    if not key.strip():
        raise ValueError("the key is empty")


class Anonymiser:
    """Called with the raw BSON of a customer, returns the raw BSON of its anonymised twin.

    At a sensitive path, text (a string or a symbol, valid UTF-8 or not) keeps its type and becomes the
    hash of its bytes. At a path whose last part is `email` that is only what stands before the last `@`;
    without `@`, the whole. Null and undefined stay. Below a list or a sub-document every value is
    replaced one by one by the same rule; names inside stay in clear. Any other value becomes a string,
    the hash of its canonical extended JSON as `bson.json_util` writes it (of its raw value where that
    cannot be made). Every occurrence of a duplicate name counts.

    A dotted path descends through lists on the way. What lies at or below the parent of a path without
    being named (`address.city` beside `address.line1`, an `address` that is plain text) falls under
    `policy.unknown` like a top-level field that no path names: "copy" carries it over, "drop" removes
    it (elements of a list move up), "hash" treats it as if the policy named its path. The top-level `_id`
    is always carried in clear.

    A policy that cannot be is refused with ValueError; calls raise MalformedDocument, nothing else.
    """

    def __init__(self, policy: Policy) -> None:
        check_fields(policy.fields)
        check_length(policy.length)
        if policy.key is not None:
            check_key(policy.key)
        self._policy = policy
        self._unknown: Action = policy.unknown
        paths = [path.encode().split(b".") for path in policy.fields]
        self._rules: Rules = {**_rules(paths, policy.unknown), b"_id": "copy"}
        self._hash, self._hash_all = _hashers(policy)
        self._length = policy.length
        self._length_of_hash = rawbson.pack_length(policy.length + 1)
        self._shapes: list[Shape] = []
        self._mixed = False
        """Whether the last customers had several shapes."""
        self._misses = 0

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest that differs whenever the policy does; it tells nothing about the key."""
        policy, proof = self._policy, None
        if policy.key is not None:
            # Slow on purpose (10 ms): far dearer to guess a weak key from than the mirror itself.
            salt = b"clientsync policy fingerprint"
            proof = hashlib.scrypt(policy.key, salt=salt, n=2**12, r=8, p=1, dklen=32).hex()
        told = json.dumps([RULES_VERSION, sorted(policy.fields), policy.length, policy.unknown, proof])
        return hashlib.sha256(told.encode()).hexdigest()

    def __call__(self, doc: bytes) -> bytes:
        """Return `doc` anonymised. Raises MalformedDocument."""
        return self._walk(doc)

    def all(self, docs: Sequence[bytes]) -> bytes:
        """Return `docs` anonymised, one behind the other. Raises MalformedDocument."""
        if len(docs) <= FEW:
            return b"".join(map(self._walk, docs))
        if not self._mixed:
            ends = (docs[0], docs[-1])
            shape = next((each for each in self._shapes if all(map(each.fits, ends))), None)
            if shape is not None and (twins := shape(docs)) is not None:
                return twins
        return b"".join(self._sort_out(docs))

    def _sort_out(self, docs: Sequence[bytes]) -> list[bytes]:
        """Return `docs`, which may be of several shapes, anonymised."""
        twins = [b""] * len(docs)
        self._mixed = True
        for shape in self._shapes:
            self._rewrite_fitting(shape, docs, twins)
        for index, doc in enumerate(docs):
            if not twins[index]:
                twins[index] = self._walk(doc)
                if (learnt := self._learn(doc)) is not None:
                    self._rewrite_fitting(learnt, docs, twins)
        return twins

    def _rewrite_fitting(self, shape: Shape, docs: Sequence[bytes], twins: list[bytes]) -> None:
        """Fill in the `twins` that are still missing of the `docs` that have this `shape`."""
        fitting = [index for index, twin in enumerate(twins) if not twin and shape.fits(docs[index])]
        if len(fitting) == len(docs):
            self._mixed = False
        for index, twin in zip(fitting, _twins(shape, [docs[index] for index in fitting]), strict=True):
            twins[index] = twin

    def _learn(self, doc: bytes) -> Shape | None:
        """Remember and return the shape of `doc`, which is none of those that are known."""
        self._misses += 1
        if self._misses > PATIENCE:
            self._shapes.clear()
            self._misses = 1
        if self._misses <= TRIES and len(self._shapes) < SHAPES:
            with suppress(NoShape, MalformedDocument, *rawbson.OVERRUN):
                self._shapes.append(Shape(doc, self._rules, self._unknown, self._hash_all, self._length))
                return self._shapes[-1]
        return None

    def _walk(self, doc: bytes) -> bytes:
        twin = bytearray()
        try:
            if rawbson.read_length(doc, 0)[0] != len(doc):
                raise MalformedDocument
            self._rewrite(doc, 0, self._rules, self._unknown, twin)
        except (*rawbson.OVERRUN, RecursionError):
            raise MalformedDocument from None
        return bytes(twin)

    def _rewrite(
        self, doc: bytes, start: int, rules: Rules, default: Action | Rules, twin: bytearray
    ) -> None:
        """Append the rewritten document or list at `start` to `twin`; `rules` lacks a name: `default`."""
        new_start = len(twin)
        end = start + rawbson.read_length(doc, start)[0]
        copied, at = start, start + 4
        # All that runs for each element is bound to a local name or written out: a third of the time.
        hash_of, length_of_hash = self._hash, self._length_of_hash
        read_length, find_nul, action_for = rawbson.read_length, doc.index, rules.get
        fixed_sizes, sizes_beyond_length = rawbson.FIXED_SIZES, rawbson.SIZES_BEYOND_LENGTH
        while kind := doc[at]:
            value_at = find_nul(0, at) + 1
            if kind in sizes_beyond_length:
                after = value_at + sizes_beyond_length[kind] + read_length(doc, value_at)[0]
            elif kind in fixed_sizes:
                after = value_at + fixed_sizes[kind]
            else:
                after = rawbson.end_of(doc, kind, value_at)
            action = action_for(doc[at + 1 : value_at - 1], default)
            if action == "hash" and kind == STRING:
                # The most frequent replacement.
                twin += doc[copied:value_at]
                twin += length_of_hash
                twin += hash_of(doc[value_at + 4 : after - 1])
                twin += b"\0"
                copied = after
            elif action != "copy":
                twin += doc[copied:at]
                self._replace(doc, at, value_at, after, action, twin)
                copied = after
            at = after
        if at != end - 1:
            raise MalformedDocument
        twin += doc[copied:end]
        twin[new_start : new_start + 4] = rawbson.pack_length(len(twin) - new_start)

    def _replace(
        self, doc: bytes, at: int, value_at: int, after: int, action: Action | Rules, twin: bytearray
    ) -> None:
        """Append to `twin` what `action` makes of the element of `doc` that goes from `at` to `after`."""
        kind = doc[at]
        if isinstance(action, dict) and kind not in NESTED:
            action = self._unknown
        if action == "drop":
            return
        if action == "copy" or kind in EMPTY:
            twin += doc[at:after]
        elif kind in NESTED:
            twin += doc[at:value_at]
            self._descend(doc, value_at, kind, action, twin)
        elif kind in TEXTS:
            text, kept = doc[value_at + 4 : after - 1], b""
            if action == "email" and b"@" in text:
                cut = text.rindex(b"@")
                text, kept = text[:cut], text[cut:]
            twin += doc[at:value_at]
            twin += b"%b%b%b\0" % (rawbson.pack_length(self._length + len(kept) + 1), self._hash(text), kept)
        else:
            json_text = _canonical_json(doc[at : at + 1] + doc[value_at:after])
            twin += b"%c%b%b%b\0" % (
                STRING,
                doc[at + 1 : value_at],
                self._length_of_hash,
                self._hash(json_text),
            )

    def _descend(self, doc: bytes, start: int, kind: int, action: Action | Rules, twin: bytearray) -> None:
        if kind == DOCUMENT and isinstance(action, dict):
            self._rewrite(doc, start, action, self._unknown, twin)
            return
        new_start = len(twin)
        self._rewrite(doc, start, NO_NAMES, action, twin)
        if self._unknown == "drop" and isinstance(action, dict):
            left = [value for _, value in rawbson.elements(bytes(twin[new_start:]))]
            twin[new_start:] = rawbson.array(left)[1:]


def _rules(paths: Sequence[Sequence[bytes]], unknown: Action) -> Rules:
    """Return the tree of `paths`, each split into its parts and none the beginning of another."""
    rules: Rules = {b"email": "email"} if unknown == "hash" else {}
    for name in {path[0] for path in paths}:
        below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        if below:
            rules[name] = _rules(below, unknown)
        else:
            rules[name] = "email" if name == b"email" else "hash"
    return rules


def _twins(shape: Shape, docs: Sequence[bytes]) -> list[bytes]:
    """Return `docs`, which seem to have this `shape`, anonymised; nothing in place of one that has not."""
    if (twins := shape(docs)) is not None:
        return rawbson.split(twins)
    if len(docs) < 2:
        return [b""] * len(docs)
    middle = len(docs) // 2
    return _twins(shape, docs[:middle]) + _twins(shape, docs[middle:])


def _hashers(policy: Policy) -> tuple[Hash, HashAll]:
    """Return what turns the bytes of a text, and of many, into the hexadecimal characters that replace it."""
    length = policy.length
    if policy.key is None:
        sha256 = hashlib.sha256
        size = (length + 1) // 2

        def sha256_all(texts: Sequence[bytes]) -> list[bytes]:
            # Written in hexadecimal together: a tenth of the time.
            digests = b"".join([sha256(text).digest()[:size] for text in texts])
            hashes = digests.hex("\0", size).encode().split(b"\0")
            return [each[:length] for each in hashes] if length % 2 else hashes

        return lambda text: hexlify(sha256(text).digest())[:length], sha256_all
    keyed = hmac.new(policy.key, digestmod="sha256")

    def hmac_sha256(text: bytes) -> bytes:
        # A copy of the keyed state is half again as fast as hmac.digest, which keys anew for each text.
        state = keyed.copy()
        state.update(text)
        return hexlify(state.digest())[:length]

    return hmac_sha256, lambda texts: list(map(hmac_sha256, texts))


def _canonical_json(value: bytes) -> bytes:
    """Return the canonical extended JSON of `value`; its raw bytes where there is none."""
    try:
        decoded = bson.decode(rawbson.document([(b"", value)]), ANY_DATE)
        return dumps(decoded[""], json_options=CANONICAL_JSON_OPTIONS).encode()
    except (BSONError, ValueError, TypeError, OverflowError):
        return value
