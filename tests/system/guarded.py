"""A MongoDB that wants a login, and users who may do no more than a test says."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from pymongo import MongoClient

from tests.mongod_process import MongodProcess

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

SECRET, ROOTS = "s3cret-pass", "r00t-pass"

SYNC_RIGHTS = [
    ("customers", "find"),
    ("customers", "changeStream"),
    ("customers_anonymised", "find"),
    ("customers_anonymised", "insert"),
    ("customers_anonymised", "update"),
    ("customers_anonymised", "remove"),
    ("clientsync_state", "find"),
    ("clientsync_state", "insert"),
    ("clientsync_state", "update"),
    ("clientsync_state", "remove"),
    ("", "listCollections"),
]
"""What the mirror takes: collection and action."""

Privilege = dict[str, Any]


@dataclass(frozen=True)
class Guarded:
    """A MongoDB that wants a login, as its root sees it."""

    server: MongodProcess
    client: MongoClient[dict[str, Any]]

    def uri_of_user_with(self, privileges: list[Privilege]) -> str:
        """Make a user who has these privileges and no others; return the URI to connect with."""
        name = uuid4().hex
        self.client.admin.command("createRole", name, privileges=privileges, roles=[])
        self.client.admin.command("createUser", name, pwd=SECRET, roles=[name])
        return self.server.uri.replace(f"{self.server.user}:{self.server.password}@", f"{name}:{SECRET}@")


def roles_in_operations() -> list[list[Privilege]]:
    """Return the privileges of the role that must be, and of the one that may be."""
    blocks = re.findall(r"db\.createRole\((.*?)\)\n", OPERATIONS.read_text(), re.DOTALL)
    roles = [json.loads(re.sub(r"(\w+): ", r'"\1": ', block)) for block in blocks]
    return [role["privileges"] for role in roles]


@contextmanager
def guarded_mongod(directory: Path) -> Iterator[Guarded]:
    """Start one, for as long as this lasts."""
    with (
        MongodProcess(directory, user="root", password=ROOTS) as server,
        MongoClient[dict[str, Any]](server.uri, timeoutMS=10_000) as client,
    ):
        yield Guarded(server, client)
