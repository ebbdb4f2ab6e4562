"""The two primitives that do all the work (R1): copy these ids, copy this range of ids.

Each runs in one snapshot transaction that reads the source and writes the mirror, and writes only what
differs. MongoDB lets the first of two transactions on one document commit and fails the other, which copies
again from a fresh snapshot. That orders all writers of one customer, whichever process they are in.

A copy of *named* ids also touches the customers that show no difference: it writes the document without
changing it. Without that write, a transaction that read an older source would meet no conflict and could
still commit what it read. That is also why an image that is replaced without a look at it is read after all
if the replacement changed nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymongo import DeleteMany, MongoClient
from pymongo.errors import BulkWriteError, DocumentTooLarge

from procs import rawbson, writes
from procs.anonymise import Anonymiser
from procs.config import Database, SyncConfig
from procs.copied import Copied
from procs.lifeline import Lifeline
from procs.messages import Id
from procs.meters import Meters
from procs.mongo import is_transient
from procs.pair import Documents, Pair, by_id
from procs.prepare import prepare
from procs.selection import OBJECT_ID, Range, any_of
from procs.transactions import Transactions
from procs.unmirrorable import Unmirrorable
from procs.writes import MAX_DOCUMENT, Write

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
TOO_LARGE, VALIDATION_FAILED, DUPLICATE_KEY = 10334, 121, 11000
UNAUTHORIZED = 13

Images = dict[Id, bytes]


class SourceMissing(Exception):
    """The source does not exist (any more): the mirror stays as it was."""


class Mirror:
    """Source and mirror of one database, seen through the session of one process.

    `anonymise` turns the BSON of a customer into that of its image. With `keep`, a source that does not exist
    empties nothing: the copy raises SourceMissing. `policy` is the fingerprint of `anonymise`. `beat` is
    called after each transaction: one copy of many large customers takes many of them. `meters` count.
    """

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        database: Database,
        anonymise: Anonymiser,
        *,
        keep: bool,
        policy: str | None = None,
        beat: Callable[[], None] = lambda: None,
        meters: Meters | None = None,
    ) -> None:
        self.pair = Pair(client, database)
        self._meters = meters or Meters()
        self._transactions = Transactions(client, database, policy, beat, self._meters)
        self._session = self._transactions.session
        self._unmirrorable = Unmirrorable(client, database)
        self._anonymise = anonymise
        self._keep = keep
        self._counted(Copied())
        self._validated = False
        self._unique: set[str] = set()
        """Fields of unique indexes of the mirror, as far as one has refused anything."""
        self._all_differ = True
        """Whether all customers that were named last had changed: those named next will have, too."""

    def prepare(self) -> None:
        """Create the mirror if it is missing. Raises PermanentError."""
        prepare(self.pair)
        self._look_for_validator()

    def _look_for_validator(self) -> bool:
        # A touch adds a field for a moment; a validator that forbids it is passed by, and only then,
        # for that takes a right of its own (bypassDocumentValidation).
        self._validated = "validator" in (self.pair.options(self.pair.mirror) or {})
        return self._validated

    def close(self) -> None:
        """Give the session back."""
        self._transactions.close()

    def copy_ids(self, ids: Iterable[Id]) -> Copied:
        """Make the mirror of exactly these customers equal to the source, and touch those that are."""
        copied = self._copy_each(list(dict.fromkeys(ids)))
        self._transactions.allow_more()
        return self._counted(copied)

    def copy_range(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        """Make the first part of `span` equal: at most `limit` documents of source and mirror each.

        Returns what was done and the rest of `span` (None: nothing is left of it).
        """
        limit = min(limit, self._transactions.most)
        try:
            copied, rest = self._transactions.run(lambda: self._copy_chunk(span, limit), limit)
        except (BulkWriteError, DocumentTooLarge) as error:
            _refusal(error)
            ids, rest = self._transactions.run(lambda: self._ids_of_chunk(span, limit), limit)
            copied = self._copy_each(ids)
        self._transactions.allow_more()
        return self._counted(copied), rest

    def retry_unmirrorable(self) -> None:
        """Try the customers again that the mirror refused earlier."""
        if ids := self._unmirrorable.load():
            self.copy_ids(ids)

    def _copy_each(self, ids: list[Id]) -> Copied:
        """Copy named ids; halve what does not fit into one reply or holds a document that is refused."""
        if not ids:
            return Copied()
        refusal = TOO_LARGE
        try:
            if len(ids) <= self._transactions.most:
                copied = self._transactions.run(lambda: self._copy_named(ids), len(ids))
                if copied is not None:
                    return copied
        except (BulkWriteError, DocumentTooLarge) as error:
            refusal = _refusal(error)
            if self._adapt_touch(refusal, error):
                return self._copy_each(ids)  # it may have refused nothing but the touch
        if len(ids) == 1:
            return self._transactions.run(lambda: self._set_aside(ids[0], refusal), 1)
        middle = len(ids) // 2
        return self._copy_each(ids[:middle]) + self._copy_each(ids[middle:])

    def _copy_named(self, ids: Sequence[Id]) -> Copied | None:
        source = self.pair.read_some(self.pair.source, ids, self._session)
        if source is None:
            return None
        replaced = self._replace_unread(source, ids) if self._all_differ else 0
        if replaced == len(ids):
            return Copied(scanned=replaced, replaced=replaced)
        mirror = self.pair.read_some(self.pair.mirror, ids, self._session)
        if mirror is None:
            return None
        self._guard_missing_source(source, mirror)
        copied = self._write(source, mirror, touch=ids) + Copied(replaced=replaced, unchanged=-replaced)
        self._all_differ = not copied.unchanged
        return copied

    def _replace_unread(self, source: Documents, ids: Sequence[Id]) -> int:
        """Replace the images of these customers without reading them; return how many that has changed.

        Unless it is all of them, they must be read all the same: some have no image, or have to be touched.
        """
        if len(source) < len(ids) or not all(id_.startswith(OBJECT_ID) for id_ in ids):
            return 0  # 1 and 1.0 are one `_id` to the server and two ids to us
        twins = self._anonymise.all(source)
        if not writes.are_replaceable(twins):
            return 0
        images = by_id(_each(twins))
        replaced = writes.replace_each(self.pair.mirror, images, self._session)
        self._unmirrorable.forget(ids, self._session)
        return replaced

    def _copy_chunk(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        source, mirror, rest = self.pair.read_chunk(span, limit, self._session)
        self._guard_missing_source(source, mirror)
        return self._write(source, mirror, touch=()), rest

    def _ids_of_chunk(self, span: Range, limit: int) -> tuple[list[Id], Range | None]:
        source, mirror, rest = self.pair.read_chunk(span, limit, self._session)
        return [*by_id([*source, *mirror])], rest

    def _write(self, source: Documents, mirror: Documents, touch: Sequence[Id]) -> Copied:
        """Write what differs, and the touches."""
        twins = self._anonymise.all(source)
        exact = bool(touch) or self._unmirrorable.is_known_of
        if not exact and twins == b"".join(mirror):
            return Copied(scanned=len(source), unchanged=len(source))
        if not exact and not mirror and writes.are_plain(twins):
            writes.insert_plainly(self.pair.mirror, twins, self._session)
            return Copied(scanned=len(source), inserted=len(source))
        row = _each(twins)
        same = set[bytes]() if exact else set(row).intersection(mirror)
        images = by_id(image for image in row if image not in same)
        present = by_id(image for image in mirror if image not in same)
        return self._write_each(images, present, touch) + Copied(scanned=len(same), unchanged=len(same))

    def _write_each(self, images: Images, mirror: Images, touch: Sequence[Id]) -> Copied:
        deleted = [id_ for id_ in mirror if id_ not in images]
        inserted = [id_ for id_ in images if id_ not in mirror]
        replaced = [id_ for id_, image in images.items() if id_ in mirror and mirror[id_] != image]
        plain = {id_: images[id_] for id_ in replaced if writes.is_replaceable(images[id_])}
        odd = [id_ for id_ in replaced if id_ not in plain]
        gone, new = [*deleted, *odd], {id_: images[id_] for id_ in [*inserted, *odd]}
        bulk: list[Write] = []
        if gone:  # first, for 1 and 1.0 are one `_id` to the server and two ids to us
            bulk.append(DeleteMany(any_of(gone)))
        added = b"".join(new.values())
        if gone or not writes.are_plain(added):
            bulk += writes.insert(new)
        elif added:
            writes.insert_plainly(self.pair.mirror, added, self._session)
        if bulk:
            self.pair.mirror.bulk_write(bulk, session=self._session)
        if plain:
            writes.replace_each(self.pair.mirror, plain, self._session)
        written = {*deleted, *inserted, *replaced}
        self._touch([id_ for id_ in touch if id_ not in written], images)
        self._unmirrorable.forget({*images, *touch}, self._session)
        return Copied(
            scanned=len(images),
            inserted=len(inserted),
            replaced=len(replaced),
            deleted=len(deleted),
            unchanged=len(images) - len(inserted) - len(replaced),
        )

    def _touch(self, ids: Sequence[Id], images: Images) -> None:
        if ids:
            self.pair.mirror.bulk_write(
                writes.touch(ids, images, self._unique),
                session=self._session,
                bypass_document_validation=self._validated or None,
            )

    def _adapt_touch(self, refusal: int, error: BulkWriteError | DocumentTooLarge) -> bool:
        """Learn from a refusal what a touch has to look like; tell whether that is news."""
        if refusal == VALIDATION_FAILED:
            return not self._validated and self._look_for_validator()
        known = len(self._unique)
        if refusal == DUPLICATE_KEY and isinstance(error, BulkWriteError):
            for refused in error.details["writeErrors"]:
                self._unique.update(name for name in refused.get("keyPattern", {}) if name != "_id")
        return len(self._unique) > known

    def _set_aside(self, id_: Id, code: int) -> Copied:
        """Take a customer that cannot be mirrored out of the mirror, and remember its id."""
        source, mirror = self.pair.read_ids([id_], self._session) or ([], [])
        self._guard_missing_source(source, mirror)
        images = by_id(map(self._anonymise, source))
        if [*images.values()] == mirror:  # it was changed or deleted meanwhile, and others were faster
            self._touch([id_], images)
            return Copied(scanned=len(source), unchanged=len(source))
        if mirror:
            self.pair.mirror.bulk_write([DeleteMany(any_of([id_]))], session=self._session)
        else:
            self._touch([id_], {})
        if source:
            self._unmirrorable.remember(id_, code, self._session)
        return Copied(scanned=len(source), deleted=len(mirror))

    def _counted(self, copied: Copied) -> Copied:
        for result, number in copied.results().items():
            self._meters.count("customers_mirrored", number, f"result={result}")
        return copied

    def _guard_missing_source(self, source: Documents, mirror: Documents) -> None:
        if self._keep and mirror and not source and self.pair.options(self.pair.source) is None:
            raise SourceMissing


def open_mirror(
    client: "MongoClient[dict[str, Any]]",
    config: SyncConfig,
    life: Lifeline[Any],
    beat: Callable[[], None] | None = None,
) -> Mirror:
    """Return the mirror as a child with this `config` writes it. `beat` None: that of `life`."""
    anonymise = Anonymiser(config.policy)
    return Mirror(
        client,
        config.database,
        anonymise,
        keep=config.on_drop == "keep",
        policy=anonymise.fingerprint,
        beat=beat or life.beat,
        meters=life.meters,
    )


def _each(twins: bytes) -> Documents:
    """Return images that lie one behind the other. Raises DocumentTooLarge."""
    images = rawbson.split(twins)
    if any(len(image) > MAX_DOCUMENT for image in images):
        raise DocumentTooLarge("an anonymised customer is over 16 MB")
    return images


def _refusal(error: BulkWriteError | DocumentTooLarge) -> int:
    """Return the server's code for the document that it refused; re-raise what is no such refusal."""
    if isinstance(error, DocumentTooLarge):
        return TOO_LARGE
    codes = [int(entry["code"]) for entry in error.details.get("writeErrors", [])]
    if not codes or UNAUTHORIZED in codes or is_transient(error):
        raise error
    return codes[0]
