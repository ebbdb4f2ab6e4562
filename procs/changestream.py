"""The change stream of the source, key only, batch by batch.

An event is a signal, never data: which customer, and whether it appeared or changed. The driver's own
`watch` hands out single events and hides where a batch ends; a batch is what is sent on and acknowledged as a
unit, so the two commands it is made of are given here directly.
https://www.mongodb.com/docs/manual/changeStreams/
"""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pymongo
from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from procs import rawbson
from procs.checkpoint import Position
from procs.config import Database
from procs.messages import Id
from procs.mongo import RAW, is_transient, is_unavailable, permanent
from procs.rawbson import value
from procs.selection import OBJECT_ID, id_of, nested

AWAIT_MS = 500
"""How long the server waits for a first event: a stop is seen after this time at the latest."""

QUIET_AWAIT_MS, QUIET_S = 1000, 10.0
"""So long it waits where nothing has happened for QUIET_S: half of an idle daemon's cost is this waiting."""

BATCH_SIZE = 1000

PATIENCE_S = 600.0
"""Bound of one reading. The server answers only when it has found events or has come to the end: from a
position far back that takes 3 s a million operations on *other* collections. A dead connection is noticed
by the driver's monitor, within seconds.
"""

CLOSES_S = 1.0

TOKEN = bytes([rawbson.DOCUMENT]) + b"_id\0"
PIPELINE_TAIL = [{"$project": {"operationType": 1, "documentKey": 1}}]

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
CHANGE_STREAM_FATAL, CAPPED_POSITION_LOST, HISTORY_LOST, INVALID_RESUME_TOKEN = 280, 136, 286, 260
FAILED_TO_PARSE, BAD_VALUE, TYPE_MISMATCH, OVERFLOW, INVALID_UUID = 9, 2, 14, 15, 207
UNNAMED = 10_000
"""From here on nearly every code is the number of one line of the server; dozens of them read tokens."""
TOO_LARGE = 10334
"""BSONObjectTooLarge: events of giant `_id`s that do not fit into one reply. Nothing leads past them."""
LOST = {CHANGE_STREAM_FATAL, CAPPED_POSITION_LOST, HISTORY_LOST, INVALID_RESUME_TOKEN, TOO_LARGE}
GARBAGE = {FAILED_TO_PARSE, BAD_VALUE, TYPE_MISMATCH, OVERFLOW, INVALID_UUID}


class HistoryLost(Exception):
    """The server cannot resume from this position: gone from the oplog, damaged, or of another stream.

    `code` is the server's; None: it would wait for a time to come.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__("its position lies in the future" if code is None else f"code {code}")
        self.code = code


@dataclass(frozen=True)
class Batch:
    """Ids by what happened to them, and the position behind all of them.

    `invalidated`: the source was dropped or renamed, and the stream ends here. `full`: more may be waiting.
    `age_s`: how long ago the first event happened at least, when it was read.
    """

    inserted: tuple[Id, ...]
    changed: tuple[Id, ...]
    position: Position
    invalidated: bool
    full: bool = False
    age_s: int = 0


class ChangeStream:
    """An open change stream; any PyMongoError that is not HistoryLost may be answered by opening it again."""

    def __init__(
        self, client: "MongoClient[dict[str, Any]]", database: Database, position: Position | None
    ) -> None:
        """Open the stream at `position`, or now if that is None. Raises HistoryLost."""
        self._database = client.get_database(database.name, codec_options=RAW)
        self._source = database.source
        self._session = client.start_session()
        how: dict[str, Any] = {}
        if position is not None:
            how = {"startAfter" if position.start_after else "resumeAfter": position.token}
        try:
            # The first batch is asked to be empty, so that an old position cannot make opening take long.
            reply = self._command(
                {
                    "aggregate": self._source,
                    "pipeline": [{"$changeStream": how}, *PIPELINE_TAIL],
                    "cursor": {"batchSize": 0},
                    "readConcern": {"level": "majority"},
                }
            )
        except OperationFailure as error:
            self._session.end_session()
            if position is not None and _is_about_position(error):
                raise HistoryLost(error.code) from None
            raise
        if position is not None and "$clusterTime" in reply and _is_after(position, reply["$clusterTime"]):
            self._session.end_session()
            raise HistoryLost(None)
        self._stirred_at = time.monotonic()
        self._cursor = reply["cursor"]["id"]
        self.position = position or Position(_plain(reply["cursor"]["postBatchResumeToken"]))

    def next_batch(self, await_ms: int | None = None) -> Batch:
        """Return what has happened since; waits `await_ms` at most for a first event. Raises HistoryLost.

        None: until one of the moments at which all children beat, so that the processor wakes up once.
        """
        if await_ms is None:
            most = QUIET_AWAIT_MS if time.monotonic() - self._stirred_at >= QUIET_S else AWAIT_MS
            await_ms = most - round(time.monotonic() * 1000) % most
        try:
            # The client's time-out would replace the waiting time; PATIENCE_S is the socket's.
            with pymongo.timeout(0):
                reply = self._command(
                    {
                        "getMore": self._cursor,
                        "collection": self._source,
                        "batchSize": BATCH_SIZE,
                        "maxTimeMS": await_ms,
                    }
                )
        except OperationFailure as error:
            if error.code in LOST:
                raise HistoryLost(error.code) from None
            raise
        # An object for each event takes five times as long as its bytes do.
        cursor = dict(rawbson.elements(bytes(reply["cursor"].raw)))
        events = rawbson.documents_in(cursor[b"nextBatch"])
        batch = self._sort(events, RawBSONDocument(cursor[b"postBatchResumeToken"][1:]))
        if events:
            self._stirred_at = time.monotonic()
        return replace(batch, age_s=_age(RawBSONDocument(events[0]), reply)) if events else batch

    def close(self) -> None:
        """Leave nothing behind: the cursors of a session that is used on stay on the server for ever."""
        with suppress(PyMongoError), pymongo.timeout(CLOSES_S):  # the server may be gone
            self._command({"killCursors": self._source, "cursors": [self._cursor]})
        self._session.end_session()

    def _command(self, command: dict[str, Any]) -> Any:
        return self._database.command(
            command, codec_options=RAW, session=self._session, read_preference=ReadPreference.PRIMARY
        )

    def _sort(self, events: list[bytes], end: RawBSONDocument) -> Batch:
        inserted: dict[Id, None] = {}
        changed: dict[Id, None] = {}
        for event in events:
            match _happened(event):
                case b"insert", id_:
                    inserted[id_] = None
                case b"update" | b"replace" | b"delete", id_:
                    changed[id_] = None
                case b"invalidate", _:
                    position = Position(_plain(RawBSONDocument(event)["_id"]), start_after=True)
                    return Batch(tuple(inserted), tuple(changed), position, invalidated=True)
        token = _plain(end)
        if token != self.position.token:  # the position may be that of an invalidate event still
            self.position = Position(token)
        full = len(events) >= BATCH_SIZE
        return Batch(tuple(inserted), tuple(changed), self.position, invalidated=False, full=full)


def _is_about_position(error: OperationFailure) -> bool:
    """Tell whether the server has refused the position, and not the whole command."""
    passes = is_unavailable(error) or is_transient(error) or permanent(error)
    return error.code in LOST | GARBAGE or ((error.code or 0) >= UNNAMED and not passes)


def _is_after(position: Position, cluster_time: RawBSONDocument) -> bool:
    """Tell whether the server has not come to `position` yet: silent until then, it would skip all before."""
    # Not operationTime: what a new primary knows to be committed may lie behind what the old one told.
    now: Timestamp = cluster_time["clusterTime"]
    # The mark of a timestamp, then its eight bytes.
    return position.order[:18].upper() > f"82{now.time:08X}{now.inc:08X}"


def _age(event: RawBSONDocument, reply: RawBSONDocument) -> int:
    """Return how many whole seconds lie for sure between an event and the newest write of the server."""
    happened = Position(_plain(event["_id"])).time
    newest: Timestamp | None = reply.get("operationTime")
    return 0 if newest is None or happened is None else max(0, newest.time - happened - 1)


def _usual(operation: bytes) -> bytes:
    """Return what stands between the token and the ObjectId of a usual event."""
    key = nested([(b"_id", OBJECT_ID + bytes(12))])
    return rawbson.document([(b"operationType", value(operation.decode())), (b"documentKey", key)])[4:-14]


USUAL = {_usual(operation): operation for operation in (b"insert", b"update", b"replace", b"delete")}


def _happened(event: bytes) -> tuple[bytes, Id]:
    """Return what happened, and to whom (nobody: an empty id)."""
    if event[4:9] == TOKEN:
        rest = event[9 + rawbson.read_length(event, 9)[0] :]
        if operation := USUAL.get(rest[:-14]):  # nearly always, and ten times as fast
            return operation, OBJECT_ID + rest[-14:-2]
    found = dict(rawbson.elements(event))
    key = found.get(b"documentKey")
    # Before the text of a string stand its type and its length.
    return found[b"operationType"][5:-1], b"" if key is None else id_of(key[1:])


def _plain(token: RawBSONDocument) -> dict[str, Any]:
    return dict(token.items())
