"""Errors that cross a process boundary, and how any error is told without a customer's data."""

import traceback

from pymongo.errors import BulkWriteError, PyMongoError


class PermanentError(Exception):
    """A restart cannot mend this: settings, rights or the server itself must change.

    Its text is one line for the operator: what is wrong, where, and what to do. Ends the daemon with 78.
    """


class TemporaryError(Exception):
    """A restart may mend this. Its text is one line for the operator, free of data and secrets."""


def describe(error: BaseException) -> str:
    """Return type, server code and place of `error`, never its text.

    A server quotes values in its messages (DuplicateKeyError shows the whole key), so no text of a
    foreign error may reach a log, the ledger or a terminal.
    """
    if isinstance(error, PermanentError | TemporaryError):
        return str(error)
    code = getattr(error, "code", None) if isinstance(error, PyMongoError) else None
    if isinstance(error, BulkWriteError):
        codes = {entry.get("code") for entry in error.details.get("writeErrors", [])}
        code = ",".join(sorted(str(each) for each in codes)) or code
    if isinstance(error, OSError) and error.errno is not None:
        code = error.strerror
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames[-3:][::-1])
    return (
        f"{type(error).__name__}{f' ({code})' if code is not None else ''}{f' at {place}' if place else ''}"
    )
