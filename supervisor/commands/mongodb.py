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

MET = (
    ("SSL handshake failed", "TLS fails: compare its options tls… with the server"),
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to the host"),
    ("Name or service not known", "unknown host name"),
    ("No address associated with hostname", "unknown host name"),
    ("name resolution", "host names cannot be looked up"),
    ("DNS query name does not exist", "unknown host name"),
    ("resolution lifetime expired", "host names cannot be looked up"),
    ("connection closed", "it hangs up: does it want tls=true?"),
    ("timed out", "no answer in time"),
)
"""Fixed words that the driver's error, which is never shown itself, may hold; what they mean."""


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
        met = next((f" ({told})" for words, told in MET if words in str(error)), "")
        return f"MONGO_URI: no primary answers{met}; is the server running, and its replica set initiated?"
    return f"MongoDB refused: {describe(error)}"
