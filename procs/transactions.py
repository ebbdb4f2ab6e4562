"""Runs copies as snapshot transactions of one session, each again until it is through or out of time.

Each first reads that no fence was raised before it (R4), reads a majority-committed snapshot and is committed
by a majority (R1).
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pymongo
from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from procs.config import Database
from procs.fence import Fenced, Registration, raise_fence
from procs.meters import Meters

SNAPSHOT = ReadConcern("snapshot")
MAJORITY = WriteConcern("majority")

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
WRITE_CONFLICT = 112

STUCK_S = 3.0
"""How long a copy may run into conflicts before it ends what keeps it from its customers: longer than most
transactions take."""

MOST = 100_000
"""More customers than any setting allows in one transaction."""

T = TypeVar("T")


class Transactions:
    """Those of one `session`. `policy` and `meters` are those of the mirror; `beat` is called after each."""

    def __init__(
        self,
        client: "MongoClient[dict[str, Any]]",
        database: Database,
        policy: str | None,
        beat: Callable[[], None],
        meters: Meters,
    ) -> None:
        self.session = client.start_session()
        self.most = MOST
        """How many customers one transaction should copy at most, as far as time has told."""
        self._client, self._database = client, database
        self._timeout_s = database.timeout_ms / 1000
        self._registration = Registration(client, database, policy)
        self._beat, self._meters = beat, meters
        self._meters.expect("transactions", "transaction_conflicts")

    def close(self) -> None:
        """Give the session back."""
        self.session.end_session()

    def register(self) -> None:
        """Register the session, as the next transaction does else. Raises TemporaryError."""
        self._registration.ensure(self.session)

    def allow_more(self) -> None:
        """Let the next one copy more again: one was through in time."""
        self.most = min(MOST, self.most * 2)

    def run(self, body: Callable[[], T], size: int) -> T:
        """Run `body` in a snapshot transaction, again after each conflict, for one time-out at most.

        What copies up to `size` customers and does not get through in that time (a slow network, a customer
        that changes all the time) is to be tried with fewer (`most`).
        """
        try:
            with pymongo.timeout(self._timeout_s):
                result = self._run(body)
        except PyMongoError as error:
            if error.timeout:
                self.most = max(1, size // 8)
            raise
        self._meters.count("transactions")
        self._beat()
        return result

    def _run(self, body: Callable[[], T]) -> T:
        stuck_at = time.monotonic() + STUCK_S

        def confirmed(session: ClientSession) -> T:
            nonlocal stuck_at
            if time.monotonic() > stuck_at:
                # What a killed process has open would hold its customers for a minute.
                raise_fence(self._client, self._database)
                self._meters.count("fences")
                stuck_at = math.inf  # once: those that are alive must get through as well
            try:
                self._registration.confirm(session)
                return body()
            except OperationFailure as error:
                self._meters.count("transaction_conflicts", by=error.code == WRITE_CONFLICT)
                raise

        while True:
            self.register()
            with suppress(Fenced), self._meters.timed("transaction_duration_seconds"):
                return self.session.with_transaction(confirmed, SNAPSHOT, MAJORITY, ReadPreference.PRIMARY)
