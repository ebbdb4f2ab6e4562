"""What MongoDB must be and allow before a mirror can work.

Each check returns a detail for people or raises PermanentError.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from procs import state
from procs.changestream import ChangeStream
from procs.config import Database
from procs.errors import PermanentError
from procs.mongo import NOT_REPLICA_SET_TEXT, SELECT_SERVER_MS, UNAUTHORIZED
from procs.transactions import MAJORITY

Client = MongoClient[dict[str, Any]]
Check = Callable[[Client, Database], str]

NOT_YET_INITIALIZED = 94
DOCUMENT_VALIDATION_FAILED = 121
NOT_WRITABLE_PRIMARY = 10107
DUPLICATE_KEY = 11000

NEVER_PRIMARY = ("hidden", "passive", "arbiterOnly")
"""What `hello` calls members that cannot be elected."""

DAMAGED = [
    {"_id.kind": kind, field: {"$exists": True, "$not": {"$type": type_}}}
    for kind, field, type_ in (
        ("lease", "holder", "string"),
        ("lease", "term", "number"),
        ("lease", "expiresAt", "date"),
        ("checkpoint", "term", "number"),
        ("session", "_id.lsid", "binData"),
    )
]
"""What finds values that no instance ever wrote; whatever else does not make sense is passed by."""

PROBE = {"_id": "clientsync check"}


def require(client: Client, database: Database) -> None:
    """Raise PermanentError if the server or a collection can never serve; cheap enough for every start."""
    check_replica_set(client, database)
    for check in (check_source, check_mirror, check_state):
        check(client, database)


def check_server(client: Client, database: Database) -> str:
    """The server answers and accepts the user."""
    with _in_the_set(client):
        build = client.admin.command("buildInfo")
    client.get_database(database.name).command("ping")
    return f"MongoDB {build['version']}"


def check_replica_set(client: Client, database: Database) -> str:
    """Change streams and transactions need a replica set (one member is enough) or a sharded cluster."""
    with _in_the_set(client):
        hello = client.admin.command("hello")
    if hello.get("msg") == "isdbgrid":
        return "sharded cluster"
    if "setName" in hello:
        _check_primary(hello)
        return f"replica set {hello['setName']}"
    if hello.get("isreplicaset"):  # started with --replSet: it may be initiated any moment
        raise OperationFailure("not initiated yet", NOT_YET_INITIALIZED)
    raise PermanentError(NOT_REPLICA_SET_TEXT)


def check_source(client: Client, database: Database) -> str:
    """The source must be a plain collection, or not exist yet."""
    return _check_kind(client, database, database.source, "SOURCE_COLLECTION", "name such a one")


def check_mirror(client: Client, database: Database) -> str:
    """The mirror likewise."""
    return _check_kind(client, database, database.mirror, "MIRROR_COLLECTION", "drop it, or name another one")


def check_state(client: Client, database: Database) -> str:
    """The collection of what clientsync remembers likewise; and what it remembers must make sense."""
    name = _check_kind(client, database, state.NAME, "MONGO_DB", "drop it, or name another database")
    with right("find", database, state.NAME):
        damaged = _collection(client, database, state.NAME).find_one({"$or": DAMAGED}, {"_id.kind": 1})
    if damaged:
        raise PermanentError(
            f"MONGO_DB: the {damaged['_id']['kind']} in {state.NAME} is damaged; stop all instances and drop "
            f"{state.NAME}, and the next start looks through the whole source again"
        )
    return name


def check_read(client: Client, database: Database) -> str:
    """The user may read the source."""
    with right("find", database, database.source):
        _collection(client, database, database.source).find_one({}, {"_id": 1})
    return "find"


def check_watch(client: Client, database: Database) -> str:
    """The user may open a change stream on the source."""
    with right("changeStream", database, database.source):
        ChangeStream(client, database, None).close()
    return "changeStream"


def check_write_mirror(client: Client, database: Database) -> str:
    """The user may write the mirror (the right to insert is also that to create)."""
    return _try_writes(client, database, database.mirror)


def check_write_state(client: Client, database: Database) -> str:
    """The user may write what clientsync remembers."""
    return _try_writes(client, database, state.NAME)


CHECKS: tuple[tuple[str, Check], ...] = (
    ("server", check_server),
    ("replica set", check_replica_set),
    ("source", check_source),
    ("mirror", check_mirror),
    ("state", check_state),
    ("read source", check_read),
    ("watch source", check_watch),
    ("write mirror", check_write_mirror),
    ("write state", check_write_state),
)


@contextmanager
def right(action: str, database: Database, collection: str) -> Iterator[None]:
    """Tell which right is missing when the server answers 13 (Unauthorized)."""
    try:
        yield
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        if "@" in database.uri:
            line = f"its user lacks {action} on {collection}; grant it (see docs/operations.md)"
        else:
            line = f"it names no user, and nobody has {action} on {collection}; put user:password@ into it"
        raise PermanentError(f"MONGO_URI: {line}") from None


@contextmanager
def _in_the_set(client: Client) -> Iterator[None]:
    """Tell servers that are up, but not in the replica set that is asked for, from those that are away."""
    try:
        with pymongo.timeout(SELECT_SERVER_MS / 1000):
            yield
    except ServerSelectionTimeoutError:
        if client.topology_description.server_descriptions():
            raise
        raise PermanentError(  # the driver crosses out who says that it is no member
            "MONGO_URI: the servers are up, but in no replica set, or in another than its option replicaSet "
            "says; correct that, or start mongod with --replSet and run rs.initiate()"
        ) from None


def _check_primary(hello: Mapping[str, Any]) -> None:
    """Only a direct connection leads to a member that is not the primary; that one may still become it."""
    if hello.get("isWritablePrimary"):
        return
    if any(hello.get(kind) for kind in NEVER_PRIMARY):
        raise PermanentError(
            "MONGO_URI: directConnection leads to a member that never is the primary; "
            "remove directConnection, so that the primary is found"
        )
    raise OperationFailure("not the primary", NOT_WRITABLE_PRIMARY)


def _check_kind(client: Client, database: Database, name: str, setting: str, remedy: str) -> str:
    found = _find(client, database, name)
    if found is None:
        return f"{database.name}.{name} (does not exist yet)"
    kind = {"view": "a view", "timeseries": "a time-series collection"}.get(found.get("type", "collection"))
    if found.get("options", {}).get("capped"):  # no snapshot reads it, no transaction writes it
        kind = "a capped collection"
    if kind:
        raise PermanentError(f"{setting}: {name} is {kind}, but must be a plain collection; {remedy}")
    return f"{database.name}.{name}"


def _find(client: Client, database: Database, name: str) -> Mapping[str, Any] | None:
    """Return what the server lists about a collection; None if there is none."""
    with right("listCollections", database, database.name):
        return next(client.get_database(database.name).list_collections(filter={"name": name}), None)


def _collection(client: Client, database: Database, name: str) -> "Collection[Any]":
    return client.get_database(database.name, read_preference=ReadPreference.PRIMARY)[name]


def _try_writes(client: Client, database: Database, name: str) -> str:
    """Read, update, delete and insert in a transaction that is always aborted."""
    collection = _collection(client, database, name)
    with client.start_session() as session:
        try:
            with _aborted(session):
                with right("find", database, name):
                    collection.find_one(PROBE, session=session)
                with right("update", database, name):
                    collection.update_one(PROBE, {"$set": {"x": 1}}, session=session)
                with right("remove", database, name):
                    collection.delete_one(PROBE, session=session)
                with right("insert", database, name):
                    collection.insert_one(PROBE, session=session)
        except OperationFailure as error:
            if error.code not in (DOCUMENT_VALIDATION_FAILED, DUPLICATE_KEY):
                raise
            if error.code == DOCUMENT_VALIDATION_FAILED:
                with _aborted(session), right("bypassDocumentValidation", database, name):
                    collection.insert_one(PROBE, bypass_document_validation=True, session=session)
            return "a validator or unique index may refuse customers: they are left out of the mirror"
    return "find, insert, update, remove"


@contextmanager
def _aborted(session: ClientSession) -> Iterator[None]:
    session.start_transaction(ReadConcern("local"), MAJORITY, ReadPreference.PRIMARY)
    try:
        yield
    finally:
        if session.in_transaction:
            session.abort_transaction()
