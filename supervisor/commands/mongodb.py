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
    ("Hostname mismatch", "the server's certificate is for another host name; use that one, or mend it"),
    ("IP address mismatch", "the server's certificate is for another address; use that one, or mend it"),
    ("certificate has expired", "the server's certificate has expired; renew it"),
    (
        "certificate verify failed",
        "no CA in tlsCAFile has signed the server's certificate; name the one that has",
    ),
    ("SSL handshake failed", "TLS fails; compare its options tls… with the server"),
    ("Connection refused", "connection refused; is the server running?"),
    ("No route to host", "no route to the host; mend the host name, or the network"),
    ("Name or service not known", "unknown host name; correct it"),
    ("No address associated with hostname", "unknown host name; correct it"),
    ("name resolution", "host names cannot be looked up; is there a DNS?"),
    ("DNS query name does not exist", "unknown host name; correct it"),
    ("resolution lifetime expired", "host names cannot be looked up; is there a DNS?"),
    (
        "connection closed",
        "it hangs up; does it want tls=true, or a certificate (tlsCertificateKeyFile)?",
    ),
    ("timed out", "no answer in time; is the server running, and its replica set initiated?"),
)
"""Fixed words that the driver's error, which is never shown itself, may hold; what they mean, what to do."""

UNKNOWN = "; is the server running, and its replica set initiated?"


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
        met = (f": {told}" for words, told in MET if words in str(error))
        return f"MONGO_URI: no primary answers{next(met, UNKNOWN)}"
    return f"MongoDB refused: {describe(error)}"
