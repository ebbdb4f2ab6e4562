"""Makes MongoDB of compose.yaml a replica set of one, with a user for the mirror and one for the generator.

Runs to its end at each `docker compose up`, in the network of MongoDB: until there is a user, whoever comes
from 127.0.0.1 may take the next step. MEMBER and SECRETS say where things are elsewhere.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

MEMBER = os.environ.get("MEMBER", "mongo:27017")
SECRETS = Path(os.environ.get("SECRETS", "/run/secrets"))
READY_S = 120
LOGIN_REFUSED, ROLE_EXISTS, USER_EXISTS = 18, 51002, 51003

Privilege = dict[str, Any]


def on(collection: str, *actions: str, db: str = "clientsync") -> Privilege:
    """Return the right to do this with a collection."""
    return {"resource": {"db": db, "collection": collection}, "actions": [*actions]}


WRITES = ("find", "insert", "update", "remove")
MIRRORS = [
    on("customers", "find", "changeStream"),
    on("customers_anonymised", *WRITES),
    on("clientsync_state", *WRITES),
    on("", "listCollections"),
    on("oplog.rs", "find", db="local"),
]
GENERATES = [on("customers", "insert")]


def secret(name: str) -> str:
    """Return what ops/secrets.sh has made."""
    return (SECRETS / name).read_text().strip()


def connect(user: str | None = None, password: str | None = None) -> "MongoClient[dict[str, Any]]":
    """Return a client of this one member, for a moment: it does not see that a set is initiated."""
    port = int(MEMBER.rpartition(":")[2])
    return MongoClient("127.0.0.1", port, directConnection=True, username=user, password=password)


def is_primary() -> bool:
    """Initiate the replica set if that was not done yet; tell whether it takes writes."""
    # Refused by one that starts, and has not yet read that it was initiated: its next answer tells.
    with connect() as anybody, suppress(PyMongoError):
        hello = anybody.admin.command("hello")
        if hello.get("isWritablePrimary"):
            return True
        if "setName" not in hello:
            config = {"_id": "rs0", "members": [{"_id": 0, "host": MEMBER}]}
            anybody.admin.command("replSetInitiate", config)
    return False


def put(client: "MongoClient[dict[str, Any]]", kind: str, name: str, **what: Any) -> None:
    """Make a user or a role as it shall be."""
    try:
        client.admin.command(f"create{kind}", name, **what)
    except OperationFailure as error:
        if error.code not in (ROLE_EXISTS, USER_EXISTS):
            raise
        client.admin.command(f"update{kind}", name, **what)


def main() -> None:
    """Do what is not done yet."""
    deadline = time.monotonic() + READY_S
    while not is_primary():
        if time.monotonic() > deadline:
            sys.exit(f"{MEMBER} has not become a primary within {READY_S} s; its log says why")
        time.sleep(0.1)
    password = secret("mongo_admin_password")
    # Refused where there is one already: then only users are let in.
    with connect() as anybody, suppress(OperationFailure):
        anybody.admin.command("createUser", "admin", pwd=password, roles=["root"])
    with connect("admin", password) as client:
        for name, privileges in (("clientsync_uri", MIRRORS), ("generator_uri", GENERATES)):
            uri = parse_uri(secret(name))
            user = uri["username"]
            put(client, "Role", user, privileges=privileges, roles=[])
            put(client, "User", user, pwd=uri["password"], roles=[user])


if __name__ == "__main__":
    try:
        main()
    except PyMongoError as error:
        code = getattr(error, "code", None)
        hint = "; are secrets/ from another time than the volume `mongo`?" if code == LOGIN_REFUSED else ""
        sys.exit(f"MongoDB: {type(error).__name__}, code {code}{hint}")
