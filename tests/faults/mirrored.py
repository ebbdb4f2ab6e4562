"""A daemon that mirrors, applications that change customers meanwhile, and the judge of both."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection

from procs import state
from procs.anonymise import Anonymiser
from procs.config import Database
from supervisor.settings import load
from tests.chaos.writers import Writer
from tests.eventually import eventually
from tests.mongo.customers import bytes_by_id, images
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import customer

CONVERGES_S = 60
MANY = 50
"""So many changes show that work goes on."""

REST = 3
"""So many checkpoints later, about one a second, the mirror must be as it was."""

OLD = range(101, 108)
"""The customers that are there from the beginning."""


class Mirrored:
    """The source and the mirror of `database`, between them a daemon in the directory of `cli`."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database, cli: CommandLine) -> None:
        self.source: Collection[Any] = client[database.name][database.source]
        self.mirror: Collection[Any] = client[database.name][database.mirror]
        self._states = client[database.name][state.NAME]
        self._database = database
        settings = {"MONGO_URI": database.uri, "MONGO_DB": database.name, "SYNC_FLUSH_MS": "50"}
        self._cli = cli.having(**settings | cli.settings)
        self._policy = load(None, settings, instance="oracle").sync.policy
        self._round = count(1)
        self.source.insert_many([customer(each) for each in OLD])
        self.start()

    def start(self) -> None:
        """Start the daemon."""
        self.daemon = DaemonProcess(self._cli, "start", "sync")

    def kill(self) -> None:
        """Kill the daemon, and forget what it has logged."""
        self.daemon.end()
        self.daemon.log.unlink()

    def begin_anew(self, before: Callable[[], object]) -> list[str]:
        """Kill the daemon and start it on a changed source without a checkpoint: it scans everything.

        Returns its deaths so far: none.
        """
        self.kill()
        self._states.delete_one({"_id.kind": "checkpoint"})
        self.change()
        before()
        self.start()
        return []

    def shrink(self) -> None:
        """Delete all customers but those from the beginning."""
        self.source.delete_many({"_id": {"$nin": list(OLD)}})

    @contextlib.contextmanager
    def changing(self) -> "Iterator[Writer]":
        """Meanwhile an application inserts, updates, replaces, deletes and inserts again, whatever fails."""
        with Writer(self._database.uri, self._database.name, self._database.source, 1, 0) as writer:
            self.goes_on(writer)
            yield writer

    def goes_on(self, writer: Writer) -> None:
        """Wait until the application has changed many customers, and what it did by then is mirrored."""
        done = writer.done
        eventually(lambda: writer.done >= done + MANY, CONVERGES_S, "the application goes on")
        self.notices()

    def notices(self) -> None:
        """Wait until scanner and writer have each mirrored a change that is made now.

        Both work off one message after the other: what came earlier is done then, too.
        """
        old, new = OLD[0], f"new {next(self._round)}"
        self.source.insert_one(customer(new))
        self.source.update_one({"_id": old}, {"$set": {"noticed": new}})
        both = {"$or": [{"_id": new}, {"_id": old, "noticed": new}]}
        eventually(lambda: self.mirror.count_documents(both) == 2, CONVERGES_S, "it notices")

    def change(self) -> None:
        """Make one change of each kind, from insert to inserting again."""
        name = f"Name {next(self._round)}"
        _, one, two, three, four, five, six = OLD
        self.source.insert_many([customer(f"{name} {each}") for each in range(3)])
        self.source.update_one({"_id": one}, {"$set": {"firstName": name}})
        self.source.replace_one({"_id": two}, customer(two, name))
        self.source.delete_one({"_id": three})
        self.source.insert_one(customer(three))
        self.source.delete_one({"_id": four})
        self.source.insert_one(customer(four, name))
        self.source.delete_one({"_id": five})
        self.source.insert_one(customer(name))
        self.source.delete_one({"_id": name})
        self.source.update_one({"_id": five}, {"$set": customer(five)}, upsert=True)
        self.source.delete_one({"_id": six})
        self.source.insert_one(customer(f"{name} at once"))
        self.source.update_one({"_id": f"{name} at once"}, {"$set": {"n": 1}})

    def change_until(self, condition: Callable[[], bool]) -> None:
        """Go on changing customers until `condition` is met."""

        def is_met() -> bool:
            self.change()
            return condition()

        eventually(is_met, CONVERGES_S, "the fault has happened")

    @contextlib.contextmanager
    def stopped(self, child: str) -> Iterator[None]:
        """Meanwhile a child does nothing."""
        pid = self.daemon.pids()[child]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def wrong(self) -> int:
        """Return how many customers of the mirror are missing, stale or left over."""
        wanted, found = images(self.source, Anonymiser(self._policy)), bytes_by_id(self.mirror)
        return sum(wanted.get(id_) != found.get(id_) for id_ in wanted.keys() | found.keys())

    def becomes_right(self) -> None:
        """The mirror is exact, and still is when all that was under way is done."""
        eventually(self._is_right, CONVERGES_S, "convergence")
        self.notices()
        assert self.wrong() == 0, "it went wrong while nothing else was changed"

    def stays_right(self) -> None:
        """The daemon is healthy, checkpoints move on, and the mirror is exact still."""
        self.daemon.healthy()
        for _ in range(REST):
            self.checkpoint_moves()
        assert self.wrong() == 0, "it went wrong while the source was at rest"

    def checkpoint_moves(self) -> None:
        """Wait for the next checkpoint."""
        before = self._token()
        eventually(lambda: self._token() > before, CONVERGES_S, "a checkpoint")

    def deaths(self) -> list[str]:
        """Return how children ended that nobody had asked to."""
        return [f"{each['child']}: {each['cause']}" for each in self.daemon.events("child_died")]

    def _is_right(self) -> bool:
        assert self.daemon.process.poll() is None, self.daemon.told()
        return self.wrong() == 0

    def _token(self) -> str:
        found = self._states.find_one({"_id.kind": "checkpoint"}) or {}
        return str(found.get("token", {}).get("_data", ""))
