"""What MongoDB must be and allow before a mirror can work.

Each check returns a detail for people or raises PermanentError.
"""

from collections.abc import Callable
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from procs import state
from procs.changestream import ChangeStream
from procs.config import Database
from procs.errors import PermanentError
from procs.mongo import NOT_REPLICA_SET_TEXT, UNAUTHORIZED

Client = MongoClient[dict[str, Any]]
Check = Callable[[Client, Database], str]

NOT_YET_INITIALIZED = 94
DOCUMENT_VALIDATION_FAILED = 121


def require(client: Client, database: Database) -> None:
    """Raise PermanentError if the server or the source can never serve; cheap enough for every start."""
    check_replica_set(client, database)
    check_source(client, database)


def check_server(client: Client, database: Database) -> str:
    """The server answers and accepts the user."""
    build = client.admin.command("buildInfo")
    client.get_database(database.name).command("ping")
    return f"MongoDB {build['version']}"


def check_replica_set(client: Client, database: Database) -> str:
    """Change streams and transactions need a replica set (one member is enough) or a sharded cluster."""
    hello = client.admin.command("hello")
    if hello.get("msg") == "isdbgrid":
        return "sharded cluster"
    if "setName" in hello:
        return f"replica set {hello['setName']}"
    if hello.get("isreplicaset"):  # started with --replSet: it may be initiated any moment
        raise OperationFailure("not initiated yet", NOT_YET_INITIALIZED)
    raise PermanentError(NOT_REPLICA_SET_TEXT)


def check_source(client: Client, database: Database) -> str:
    """The source must be a plain collection, or not exist yet."""
    for found in client.get_database(database.name).list_collections(filter={"name": database.source}):
        kind = found.get("type", "collection")
        if kind != "collection":
            raise PermanentError(
                f"SOURCE_COLLECTION: {database.source} is a {kind}, which has no change stream of its own; "
                "name the collection that it is made from"
            )
        return database.source
    return f"{database.source} (does not exist yet)"


def check_read(client: Client, database: Database) -> str:
    """The user may read the source."""
    with _right("find", database.source):
        client.get_database(database.name)[database.source].find_one({}, {"_id": 1})
    return "find"


def check_watch(client: Client, database: Database) -> str:
    """The user may open a change stream on the source."""
    with _right("changeStream", database.source):
        ChangeStream(client, database, None).close()
    return "changeStream"


def check_write_mirror(client: Client, database: Database) -> str:
    """The user may write the mirror."""
    return _try_writes(client, database, database.mirror)


def check_write_state(client: Client, database: Database) -> str:
    """The user may write what clientsync remembers."""
    return _try_writes(client, database, state.NAME)


CHECKS: tuple[tuple[str, Check], ...] = (
    ("server", check_server),
    ("replica set", check_replica_set),
    ("source", check_source),
    ("read source", check_read),
    ("watch source", check_watch),
    ("write mirror", check_write_mirror),
    ("write state", check_write_state),
)


class _right:
    """Tells which right is missing when the server answers 13 (Unauthorized)."""

    def __init__(self, action: str, collection: str) -> None:
        self._line = (
            f"MONGO_URI: its user lacks {action} on {collection}; grant it (see README, minimal rights)"
        )

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
            raise PermanentError(self._line) from None


def _try_writes(client: Client, database: Database, name: str) -> str:
    """Insert, update and delete one document in a transaction that is always aborted."""
    collection: Collection[Any] = client.get_database(database.name, read_preference=ReadPreference.PRIMARY)[
        name
    ]
    probe = {"_id": "clientsync check"}
    with client.start_session() as session:
        session.start_transaction()
        try:
            _write_all(collection, probe, session)
        except OperationFailure as error:
            if error.code == DOCUMENT_VALIDATION_FAILED:
                return "has a validator: customers that it refuses are left out of the mirror"
            raise
        finally:
            if session.in_transaction:
                session.abort_transaction()
    return "insert, update, remove"


def _write_all(collection: "Collection[Any]", probe: dict[str, Any], session: ClientSession) -> None:
    with _right("insert", collection.name):
        collection.insert_one(probe, session=session)
    with _right("update", collection.name):
        collection.update_one(probe, {"$set": {"x": 1}}, session=session)
    with _right("remove", collection.name):
        collection.delete_one(probe, session=session)
