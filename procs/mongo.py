"""One way to open a client and to read MongoDB's errors: wait, try again, or give up."""

import logging
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)

from procs.config import Database
from procs.errors import PermanentError, describe
from procs.lifeline import Lifeline

log = logging.getLogger(__name__)

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)

SELECT_SERVER_MS = 2_000
"""Bound of one look for a primary: short, so that a waiting child beats and sees a stop."""

RETRY_EVERY_S = 0.25

WAITING = "waiting"
"""The phase of a child that cannot reach MongoDB."""

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
NOT_REPLICA_SET = {20, 40573}
AUTHENTICATION_FAILED, UNAUTHORIZED = 18, 13
DATABASE_DIFFERS_IN_CASE = 13297
UNAVAILABLE = {
    6,  # HostUnreachable: a member, seen from another or from mongos
    7,  # HostNotFound
    50,  # MaxTimeMSExpired
    89,  # NetworkTimeout
    91,  # ShutdownInProgress
    94,  # NotYetInitialized
    133,  # FailedToSatisfyReadPreference
    189,  # PrimarySteppedDown
    262,  # ExceededTimeLimit
    9001,  # SocketException
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
}
FENCED = {
    237,  # CursorKilled
    251,  # NoSuchTransaction
    11601,  # Interrupted
}
TRANSIENT = FENCED | {
    24,  # LockTimeout
    43,  # CursorNotFound
    112,  # WriteConflict
    206,  # NoSuchSession
    246,  # SnapshotUnavailable
}

NOT_REPLICA_SET_TEXT = (
    "MONGO_URI: the server is not a replica set, so it has no change stream and no transaction; "
    "start mongod with --replSet and run rs.initiate() (one member is enough)"
)

T = TypeVar("T")


def connect(database: Database, role: str, patience_s: float | None = None) -> "MongoClient[dict[str, Any]]":
    """Return a client for `database`; no call of it waits longer than `database.timeout_ms`.

    `patience_s` bounds calls on which that time-out is lifted.
    """
    with warnings.catch_warnings(action="ignore"):  # deprecated options, compressors that are not installed
        return MongoClient(
            database.uri,
            # The name of a mongodb+srv:// is looked up with the first call, which can be repeated.
            connect=False,
            appname=f"clientsync {role}",
            timeoutMS=database.timeout_ms,
            # timeoutMS would overwrite the waiting time of a getMore; this bound holds where it is lifted.
            socketTimeoutMS=database.timeout_ms if patience_s is None else round(patience_s * 1000),
            connectTimeoutMS=SELECT_SERVER_MS,
            serverSelectionTimeoutMS=SELECT_SERVER_MS,
            w="majority",  # whatever the URI says: what was written is there
        )


def is_unavailable(error: PyMongoError) -> bool:
    """Tell whether waiting may mend `error`: unreachable, no primary, not initiated yet, too slow."""
    # A replica set that is not initiated yet has no sessions: pymongo calls that a wrong configuration.
    if isinstance(error, ConnectionFailure | AutoReconnect | ConfigurationError) or error.timeout:
        return True
    return isinstance(error, OperationFailure) and error.code in UNAVAILABLE


def is_transient(error: PyMongoError) -> bool:
    """Tell whether the same transaction may simply be tried again: a conflict, a fence, a moved primary."""
    labels = ("TransientTransactionError", "ResumableChangeStreamError")
    return any(error.has_error_label(label) for label in labels) or (
        isinstance(error, OperationFailure) and error.code in TRANSIENT
    )


def permanent(error: PyMongoError) -> PermanentError | None:
    """Return the line for the operator if only a change of settings, rights or server can mend `error`."""
    codes = _codes(error)
    if AUTHENTICATION_FAILED in codes:
        return PermanentError(
            "MONGO_URI: the server refused user or password (code 18); "
            "correct them (and authSource) in MONGO_URI or MONGO_URI_FILE"
        )
    if UNAUTHORIZED in codes:
        return PermanentError(
            "MONGO_URI: a right on MongoDB is missing (code 13); `clientsync-supervisor check` names it"
        )
    if DATABASE_DIFFERS_IN_CASE in codes:
        return PermanentError(
            "MONGO_DB: the server has a database of this name in other upper and lower case (code 13297); "
            "write it as it is written there"
        )
    if isinstance(error, OperationFailure) and error.code in NOT_REPLICA_SET:
        return PermanentError(NOT_REPLICA_SET_TEXT)
    return None


def _codes(error: PyMongoError) -> set[int | None]:
    """Return the server's codes for `error`, and for each write of a bulk that it refused."""
    writes = error.details.get("writeErrors", []) if isinstance(error, BulkWriteError) else []
    return {error.code if isinstance(error, OperationFailure) else None, *(each["code"] for each in writes)}


class Stopped(Exception):
    """A stop was asked for while waiting for MongoDB."""


def ride_out(life: Lifeline[Any], action: Callable[[], T]) -> T:
    """Run `action` until MongoDB lets it through, in phase WAITING meanwhile.

    `action` must be safe to repeat. Raises PermanentError, Stopped, or whatever else `action` raises.
    """
    phase = life.phase
    life.meters.expect("mongodb_retries")
    # timeoutMS bounds a look for a primary too: while none is in sight, a try is cut shorter.
    looking = phase == "starting"
    while True:
        try:
            with pymongo.timeout(SELECT_SERVER_MS / 1000) if looking else nullcontext():
                result = action()
        except PyMongoError as error:
            life.meters.count("mongodb_retries")
            looking = isinstance(error, AutoReconnect) and not isinstance(error, NetworkTimeout)
            if told := permanent(error):
                raise told from None
            if is_unavailable(error):
                log.debug(
                    "MongoDB is unavailable: %s", describe(error), extra={"event": "mongodb_unavailable"}
                )
                life.beat(WAITING)
            elif not is_transient(error):
                raise
            life.wait(RETRY_EVERY_S)
            if life.stopping:
                raise Stopped from None
        else:
            if life.phase == WAITING:
                life.beat(phase)
            return result
