"""The first steps of an embedded mongod: replica set, user; and, under another port than before, its address.

Each call finds out what is there and does the next step, so that a kill between two steps does no harm.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from procs.errors import PermanentError
from procs.hello import hello
from procs.mongod_home import REPLICA_SET, USER, Home

ANSWER_S = 2.0

# Server error codes.
UNAUTHORIZED, AUTHENTICATION_FAILED, ALREADY_INITIALIZED, NOT_YET_INITIALIZED = 13, 18, 23, 94


def advance(home: Home) -> bool:
    """Do the next step towards a writable primary with our user; True when nothing is left to do.

    OSError or PyMongoError: not yet, try again. PermanentError: the password is not that of the data.
    """
    state = hello(home.port, ANSWER_S)
    if state.get("isWritablePrimary"):
        if _can_log_in(home):
            return True
        with _before_first_user(home) as client:
            client.admin.command("createUser", USER, pwd=home.password, roles=["root"])
    elif "setName" not in state and not _moved(home):
        with _before_first_user(home) as client:
            members = [{"_id": 0, "host": home.address}]
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    return False


def answers(home: Home) -> bool:
    """Tell whether it is a writable primary that lets us log in; OSError, PyMongoError: no answer."""
    return bool(hello(home.port, ANSWER_S).get("isWritablePrimary")) and _can_log_in(home)


def _can_log_in(home: Home) -> bool:
    try:
        with _connect(home, username=USER, password=home.password) as client:
            client.admin.command("ping")
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
        return False
    return True


def _moved(home: Home) -> bool:
    """Tell whether there is a replica set already; a member finds itself in it only under its own address."""
    try:
        with _connect(home, username=USER, password=home.password) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            if config["members"][0]["host"] != home.address:
                config["members"][0]["host"] = home.address
                client.admin.command("replSetReconfig", config, force=True)
    except OperationFailure as error:
        if error.code not in (AUTHENTICATION_FAILED, NOT_YET_INITIALIZED):
            raise
        return error.code == NOT_YET_INITIALIZED
    return True


@contextlib.contextmanager
def _before_first_user(home: Home) -> Iterator[MongoClient[dict[str, Any]]]:
    """Connect without a login: mongod lets loopback do the first steps as long as there is no user."""
    try:
        with _connect(home) as client:
            yield client
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            raise PermanentError(
                f"{home.password_file} is not the password of the data in {home.data}: restore it, or move "
                f"{home.directory} away to begin with an empty database"
            ) from error
        if error.code != ALREADY_INITIALIZED:
            raise


def _connect(home: Home, **login: str) -> MongoClient[dict[str, Any]]:
    # A new one for each step: one that has seen the server before replSetInitiate believes for seconds that
    # it knows no sessions.
    bound_ms = int(ANSWER_S * 1000)
    # Closing a client obeys the second bound only: it would wait 30 s for a server that has just gone.
    options: dict[str, Any] = {"timeoutMS": bound_ms, "serverSelectionTimeoutMS": bound_ms, **login}
    return MongoClient(home.address, directConnection=True, **options)
