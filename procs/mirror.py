"""The two primitives that do all the work (R1): copy these ids, copy this range of ids.

Each runs in one snapshot transaction that reads the source and writes the mirror, and writes only what
differs. MongoDB lets the first of two transactions on one document commit and fails the other, which copies
again from a fresh snapshot. That orders all writers of one customer, whichever process they are in.

A copy of *named* ids also touches the customers that show no difference: it writes the document without
changing it. Without that write, a transaction that read an older source would meet no conflict and could
still commit what it read.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pymongo
from pymongo import DeleteMany, MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from procs import writes
from procs.config import Database
from procs.errors import PermanentError
from procs.fence import Fenced, Registration
from procs.messages import Id
from procs.mongo import is_transient
from procs.pair import Documents, Pair
from procs.selection import Range, any_of
from procs.unmirrorable import Unmirrorable
from procs.writes import MAX_DOCUMENT, Write

SNAPSHOT = ReadConcern("snapshot")
MAJORITY = WriteConcern("majority")

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
TOO_LARGE, VALIDATION_FAILED, DUPLICATE_KEY = 10334, 121, 11000
UNAUTHORIZED, NAMESPACE_EXISTS = 13, 48

MOST = 100_000
"""More customers than any setting allows in one transaction."""

T = TypeVar("T")


class SourceMissing(Exception):
    """The source does not exist (any more): the mirror stays as it was."""


@dataclass(frozen=True)
class Copied:
    """What one or more copies did, in customers."""

    scanned: int = 0
    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Copied") -> "Copied":
        return Copied(
            self.scanned + other.scanned,
            self.inserted + other.inserted,
            self.replaced + other.replaced,
            self.deleted + other.deleted,
            self.unchanged + other.unchanged,
        )

    def __sub__(self, other: "Copied") -> "Copied":
        return Copied(
            self.scanned - other.scanned,
            self.inserted - other.inserted,
            self.replaced - other.replaced,
            self.deleted - other.deleted,
            self.unchanged - other.unchanged,
        )


class Mirror:
    """Source and mirror of one database, seen through the session of one process.

    `anonymise` turns the BSON of a customer into that of its image. With `keep`, a source that does not exist
    empties nothing: the copy raises SourceMissing. `policy` is the fingerprint of `anonymise`. `beat` is
    called after each transaction: one copy of many large customers takes many of them.
    """

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        database: Database,
        anonymise: Callable[[bytes], bytes],
        *,
        keep: bool,
        policy: str | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.pair = Pair(client, database)
        self._timeout_s = database.timeout_ms / 1000
        self._session = client.start_session()
        self._registration = Registration(client, database, policy)
        self._unmirrorable = Unmirrorable(client, database)
        self._anonymise = anonymise
        self._keep = keep
        self._beat = beat
        self._validated = False
        self._most = MOST

    def prepare(self) -> None:
        """Create the mirror if it is missing, with the collation of the source, which orders the `_id`s."""
        source, mirror = self.pair.options(self.pair.source), self.pair.options(self.pair.mirror)
        if source is not None and mirror is not None and source.get("collation") != mirror.get("collation"):
            if self.pair.last_mirror_id() is not None:
                raise PermanentError(
                    "MIRROR_COLLECTION has another collation than SOURCE_COLLECTION, so their order differs: "
                    "drop it, and it is made anew"
                )
            if "viewOn" in mirror:  # refused by the listener's preflight, and not ours to drop
                return
            self.pair.mirror.drop()
            mirror = None
        if mirror is None:
            self._create((source or {}).get("collation"))
        self._look_for_validator()

    def _create(self, collation: Any) -> None:
        mirror = self.pair.mirror
        options = {} if collation is None else {"collation": collation}
        try:
            mirror.database.create_collection(mirror.name, check_exists=False, **options)
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise

    def _look_for_validator(self) -> bool:
        # A touch adds a field for a moment; a validator that forbids it is passed by, and only then,
        # for that takes a right of its own (bypassDocumentValidation).
        self._validated = "validator" in (self.pair.options(self.pair.mirror) or {})
        return self._validated

    def close(self) -> None:
        """Give the session back."""
        self._session.end_session()

    def copy_ids(self, ids: Iterable[Id]) -> Copied:
        """Make the mirror of exactly these customers equal to the source, and touch those that are."""
        copied = self._copy_each(list(dict.fromkeys(ids)))
        self._most = min(MOST, self._most * 2)
        return copied

    def copy_range(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        """Make the first part of `span` equal: at most `limit` documents of source and mirror each.

        Returns what was done and the rest of `span` (None: nothing is left of it).
        """
        limit = min(limit, self._most)
        try:
            copied, rest = self._transact(lambda: self._copy_chunk(span, limit), limit)
        except (BulkWriteError, DocumentTooLarge) as error:
            _refusal(error)
            ids, rest = self._transact(lambda: self._ids_of_chunk(span, limit), limit)
            copied = self._copy_each(ids)
        self._most = min(MOST, self._most * 2)
        return copied, rest

    def retry_unmirrorable(self) -> None:
        """Try the customers again that the mirror refused earlier."""
        if ids := self._unmirrorable.load():
            self._copy_each(ids)

    def _copy_each(self, ids: list[Id]) -> Copied:
        """Copy named ids; halve what does not fit into one reply or holds a document that is refused."""
        if not ids:
            return Copied()
        refusal = TOO_LARGE
        try:
            copied = (
                self._transact(lambda: self._copy_named(ids), len(ids)) if len(ids) <= self._most else None
            )
            if copied is not None:
                return copied
        except (BulkWriteError, DocumentTooLarge) as error:
            refusal = _refusal(error)
        if refusal == VALIDATION_FAILED and not self._validated and self._look_for_validator():
            return self._copy_each(ids)  # it is new, and may have refused nothing but the touch
        if len(ids) == 1:
            return self._transact(lambda: self._set_aside(ids[0], refusal), 1)
        middle = len(ids) // 2
        return self._copy_each(ids[:middle]) + self._copy_each(ids[middle:])

    def _copy_named(self, ids: Sequence[Id]) -> Copied | None:
        read = self.pair.read_ids(ids, self._session)
        if read is None:
            return None
        source, mirror = read
        self._guard_missing_source(source, mirror)
        return self._write(source, mirror, touch=ids)

    def _copy_chunk(self, span: Range, limit: int) -> tuple[Copied, Range | None]:
        source, mirror, rest = self.pair.read_chunk(span, limit, self._session)
        self._guard_missing_source(source, mirror)
        return self._write(source, mirror, touch=()), rest

    def _ids_of_chunk(self, span: Range, limit: int) -> tuple[list[Id], Range | None]:
        source, mirror, rest = self.pair.read_chunk(span, limit, self._session)
        return list(source | mirror), rest

    def _write(self, source: Documents, mirror: Documents, touch: Sequence[Id]) -> Copied:
        """Write what differs, and the touches, in one ordered bulk."""
        images = {id_: self._anonymise(document) for id_, document in source.items()}
        if any(len(image) > MAX_DOCUMENT for image in images.values()):
            raise DocumentTooLarge("an anonymised customer is over 16 MB")
        deleted = [id_ for id_ in mirror if id_ not in images]
        inserted = [id_ for id_ in images if id_ not in mirror]
        replaced = [id_ for id_, image in images.items() if id_ in mirror and mirror[id_] != image]
        bulk: list[Write] = []
        if deleted:  # first, for 1 and 1.0 are one `_id` to the server and two ids to us
            bulk.append(DeleteMany(any_of(deleted)))
        for id_ in inserted:
            bulk += writes.insert(id_, images[id_])
        bulk += [writes.replace(id_, images[id_]) for id_ in replaced]
        if bulk:
            self.pair.mirror.bulk_write(bulk, session=self._session)
        written = {*deleted, *inserted, *replaced}
        self._touch([id_ for id_ in touch if id_ not in written], images)
        self._unmirrorable.forget({*images, *touch}, self._session)
        return Copied(
            scanned=len(source),
            inserted=len(inserted),
            replaced=len(replaced),
            deleted=len(deleted),
            unchanged=len(images) - len(inserted) - len(replaced),
        )

    def _touch(self, ids: Sequence[Id], images: Documents) -> None:
        if ids:
            self.pair.mirror.bulk_write(
                writes.touch(ids, images),
                session=self._session,
                bypass_document_validation=self._validated or None,
            )

    def _set_aside(self, id_: Id, code: int) -> Copied:
        """Take a customer that cannot be mirrored out of the mirror, and remember its id."""
        mirror = self.pair.read_mirror(id_, self._session)
        if mirror:
            self.pair.mirror.bulk_write([DeleteMany(any_of([id_]))], session=self._session)
        elif code != DUPLICATE_KEY:  # a touch would be refused in the same way
            self._touch([id_], {})
        self._unmirrorable.remember(id_, code, self._session)
        return Copied(scanned=1, deleted=len(mirror))

    def _transact(self, body: Callable[[], T], size: int) -> T:
        """Run `body` in a snapshot transaction, again after each conflict, for one time-out at most.

        What copies up to `size` customers and does not get through in that time (a slow network, a customer
        that changes all the time) is tried with fewer, and the next copy with more again.
        """
        try:
            with pymongo.timeout(self._timeout_s):
                result = self._run(body)
        except PyMongoError as error:
            if error.timeout:
                self._most = max(1, size // 8)
            raise
        self._beat()
        return result

    def _run(self, body: Callable[[], T]) -> T:
        def confirmed(session: ClientSession) -> T:
            self._registration.confirm(session)
            return body()

        while True:
            self._registration.ensure(self._session)
            with suppress(Fenced):
                return self._session.with_transaction(confirmed, SNAPSHOT, MAJORITY, ReadPreference.PRIMARY)

    def _guard_missing_source(self, source: Documents, mirror: Documents) -> None:
        if self._keep and mirror and not source and self.pair.options(self.pair.source) is None:
            raise SourceMissing


def _refusal(error: BulkWriteError | DocumentTooLarge) -> int:
    """Return the server's code for the document that it refused; re-raise what is no such refusal."""
    if isinstance(error, DocumentTooLarge):
        return TOO_LARGE
    codes = [int(entry["code"]) for entry in error.details.get("writeErrors", [])]
    if not codes or UNAUTHORIZED in codes or is_transient(error):
        raise error
    return codes[0]
