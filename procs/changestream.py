"""The change stream of the source, key only, batch by batch.

An event is a signal, never data: which customer, and whether it appeared or changed. The driver's own
`watch` hands out single events and hides where a batch ends; a batch is what is sent on and acknowledged as a
unit, so the two commands it is made of are given here directly.
https://www.mongodb.com/docs/manual/changeStreams/
"""

from dataclasses import dataclass
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.errors import OperationFailure

from procs.checkpoint import Position
from procs.config import Database
from procs.messages import Id
from procs.mongo import RAW
from procs.selection import id_of

AWAIT_MS = 500
"""How long the server waits for a first event: a stop is seen after this time at the latest."""

BATCH_SIZE = 1000

PATIENCE_S = 600.0
"""Bound of one reading. The server answers only when it has found events or has come to the end: from a
position far back that takes 3 s a million operations on *other* collections. A dead connection is noticed
by the driver's monitor, within seconds.
"""

PIPELINE_TAIL = [{"$project": {"operationType": 1, "documentKey": 1}}]

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
CHANGE_STREAM_FATAL, CAPPED_POSITION_LOST, HISTORY_LOST, INVALID_RESUME_TOKEN = 280, 136, 286, 260
FAILED_TO_PARSE, BAD_VALUE, TYPE_MISMATCH, OVERFLOW, KEY_STRING = 9, 2, 14, 15, 50811
TOO_LARGE = 10334
"""BSONObjectTooLarge: events of giant `_id`s that do not fit into one reply. Nothing leads past them."""
LOST = {CHANGE_STREAM_FATAL, CAPPED_POSITION_LOST, HISTORY_LOST, INVALID_RESUME_TOKEN, TOO_LARGE}
GARBAGE = {FAILED_TO_PARSE, BAD_VALUE, TYPE_MISMATCH, OVERFLOW, KEY_STRING}


class HistoryLost(Exception):
    """The server cannot resume from this position: gone from the oplog, damaged, or of another stream."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"code {code}")
        self.code = code


@dataclass(frozen=True)
class Batch:
    """Ids by what happened to them, and the position behind all of them.

    `invalidated`: the source was dropped or renamed, and the stream ends here. `full`: more may be waiting.
    """

    inserted: tuple[Id, ...]
    changed: tuple[Id, ...]
    position: Position
    invalidated: bool
    full: bool = False


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
            if position is not None and error.code in LOST | GARBAGE:
                raise HistoryLost(error.code) from None
            raise
        self._cursor = reply["cursor"]["id"]
        self.position = position or Position(_plain(reply["cursor"]["postBatchResumeToken"]))

    def next_batch(self, await_ms: int = AWAIT_MS) -> Batch:
        """Return what has happened since; waits `await_ms` at most for a first event. Raises HistoryLost."""
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
        return self._sort(reply["cursor"])

    def close(self) -> None:
        """Give the session back; the server forgets a cursor that nobody asks for more."""
        self._session.end_session()

    def _command(self, command: dict[str, Any]) -> Any:
        return self._database.command(
            command, codec_options=RAW, session=self._session, read_preference=ReadPreference.PRIMARY
        )

    def _sort(self, cursor: Any) -> Batch:
        inserted: dict[Id, None] = {}
        changed: dict[Id, None] = {}
        for event in cursor["nextBatch"]:
            match event["operationType"]:
                case "insert":
                    inserted[_id_of(event)] = None
                case "update" | "replace" | "delete":
                    changed[_id_of(event)] = None
                case "invalidate":
                    position = Position(_plain(event["_id"]), start_after=True)
                    return Batch(tuple(inserted), tuple(changed), position, invalidated=True)
        token = _plain(cursor["postBatchResumeToken"])
        if token != self.position.token:  # the position may be that of an invalidate event still
            self.position = Position(token)
        full = len(cursor["nextBatch"]) >= BATCH_SIZE
        return Batch(tuple(inserted), tuple(changed), self.position, invalidated=False, full=full)


def _id_of(event: RawBSONDocument) -> Id:
    return id_of(bytes(event["documentKey"].raw))


def _plain(token: RawBSONDocument) -> dict[str, Any]:
    return dict(token.items())
