"""The fence between instances that log in to MongoDB as different users."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from procs import fence, state
from procs.config import Database
from procs.fence import Registration, raise_fence
from tests.mongod_process import MongodProcess

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[MongodProcess]:
    """A mongod with users a, b, and c, who may end anybody's sessions."""
    with MongodProcess(tmp_path, user="root", password="secret") as process:
        with MongoClient[dict[str, Any]](process.uri) as root:
            rights = [{"resource": {"cluster": True}, "actions": ["killAnySession"]}]
            root.admin.command("createRole", "ender", privileges=rights, roles=[])
            for name, more in (("a", []), ("b", []), ("c", ["ender"])):
                root.admin.command("createUser", name, pwd="x", roles=["readWriteAnyDatabase", *more])
        yield process


def login(process: MongodProcess, name: str) -> Client:
    return MongoClient(f"mongodb://{name}:x@{process.address}/?authSource=admin")


@pytest.mark.parametrize(("ender", "waits"), [("a", False), ("b", True), ("c", False)])
def test_a_fence_ends_the_sessions_of_other_users_or_says_how_long_to_wait_for_them(
    guarded: MongodProcess, ender: str, waits: bool
) -> None:
    with login(guarded, "a") as owner, login(guarded, ender) as other, owner.start_session() as session:
        database = Database(guarded.uri, "test", "customers", "mirror")
        Registration(owner, database, None).ensure(session)
        owner["test"]["mirror"].insert_one({"_id": 1})
        session.start_transaction()
        owner["test"]["mirror"].update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)

        seconds = raise_fence(other, database)

        assert (seconds > 0) == waits
        if waits:
            session.commit_transaction()
        else:
            with pytest.raises(OperationFailure, match="has been aborted"):
                session.commit_transaction()


def test_a_session_of_another_user_that_cannot_be_open_any_more_is_not_waited_for(
    guarded: MongodProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with login(guarded, "a") as owner, login(guarded, "b") as other, owner.start_session() as session:
        database = Database(guarded.uri, "test", "customers", "mirror")
        Registration(owner, database, None).ensure(session)
        first = raise_fence(other, database)
        monkeypatch.setattr(fence, "TRANSACTION_LASTS_S", -1.0)

        again = raise_fence(other, database)

        assert (first > 0, again) == (True, 0.0)
        assert state.collection(other, database).count_documents({}) == 0
