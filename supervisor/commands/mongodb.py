"""How the commands that look at MongoDB themselves reach it, and how they tell that they cannot."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import mongod
from procs.errors import describe
from procs.mongo import connect, is_unavailable, permanent
from supervisor.settings import Settings

Client = MongoClient[dict[str, Any]]


@contextmanager
def reach(settings: Settings, role: str) -> Iterator[Client]:
    """Yield a client; an embedded server that does not run is started for as long as it is needed.

    Raises PermanentError or TemporaryError if the embedded server cannot be started.
    """
    if settings.server is None:
        with connect(settings.database, role) as client:
            yield client
        return
    with (
        mongod.running(settings.server.directory) as uri,
        connect(settings.with_uri(uri).database, role) as client,
    ):
        yield client


def explain(error: PyMongoError) -> str:
    """Return the line for the operator, without anything that the server quoted."""
    if told := permanent(error):
        return str(told)
    if is_unavailable(error):
        return "MONGO_URI: no primary answers; is the server running, and its replica set initiated?"
    return f"MongoDB refused: {describe(error)}"
