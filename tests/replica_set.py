"""A replica set of three mongods, whose members can be killed, frozen, stepped down and started again."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.eventually import eventually
from tests.mongod_process import REPLICA_SET, MongodProcess

MEMBERS = 3
ELECTION_MS = 1000
SETTLES_S = 60
OPTIONS = ("--replSet", REPLICA_SET, "--oplogSize", "64")
CACHE_GB = 0.25
SETTINGS = {
    "electionTimeoutMillis": ELECTION_MS,
    "heartbeatIntervalMillis": 200,
    # A primary never waits for what only a frozen or killed predecessor has.
    "catchUpTimeoutMillis": 500,
}
PRIMARY, SECONDARY = "PRIMARY", "SECONDARY"

T = TypeVar("T")


class ReplicaSet:
    """Three mongods below `directory`, all with data and a vote, on loopback; failpoints are enabled."""

    def __init__(self, directory: Path) -> None:
        self.members = [
            MongodProcess(directory / str(number), *OPTIONS, replica_set=None, cache_gb=CACHE_GB)
            for number in range(MEMBERS)
        ]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(each.address for each in self.members)}/?replicaSet={REPLICA_SET}"

    def __enter__(self) -> Self:
        try:
            self._start_all()
            hosts = [{"_id": number, "host": each.address} for number, each in enumerate(self.members)]
            config = {"_id": REPLICA_SET, "members": hosts, "settings": SETTINGS}
            with direct(self.members[0]) as client:
                client.admin.command("replSetInitiate", config)
            self.settled()
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill_all()

    def primary(self) -> MongodProcess:
        """Wait until a member takes writes; of two, the one that was elected last."""
        found: MongodProcess = eventually(self._find_primary, SETTLES_S, "a primary")
        return found

    def another_primary(self, than: MongodProcess) -> MongodProcess:
        """Wait until another member takes writes."""

        def elected() -> MongodProcess | None:
            found = self._find_primary()
            return found if found is not than else None

        other: MongodProcess = eventually(elected, SETTLES_S, "another primary")
        return other

    def has_primary(self) -> bool:
        return self._find_primary() is not None

    def secondaries(self) -> list[MongodProcess]:
        primary = self.primary()
        return [each for each in self.members if each is not primary]

    def step_down(self) -> None:
        """Have the primary hand over to another member."""
        with direct(self.primary()) as client:
            client.admin.command("replSetStepDown", 30, secondaryCatchUpPeriodSecs=10)

    def freeze(self, member: MongodProcess) -> None:
        """Cut `member` off: its connections stay open, and nothing answers."""
        member.send_signal(signal.SIGSTOP)

    def thaw(self, member: MongodProcess) -> None:
        member.send_signal(signal.SIGCONT)

    def stop_replication(self) -> None:
        """From now on no secondary fetches what the primary writes."""
        for each in self.secondaries():
            fail_point(each, "stopReplProducer", "alwaysOn")

    def resume_replication(self, *members: MongodProcess) -> None:
        for each in members:
            fail_point(each, "stopReplProducer", "off")

    def revive(self) -> None:
        """Make it whole again, whatever was done to it."""
        for each in self.members:
            if each.process is None:
                each.start()
            self.thaw(each)
            fail_point(each, "stopReplProducer", "off")
        self.settled()

    def restart_all(self) -> None:
        """Kill all members, then start them again."""
        self._kill_all()
        self._start_all()

    def settled(self) -> None:
        """Wait until there is one primary, and the others have all that it has."""
        eventually(self._is_settled, SETTLES_S, "one primary and its equals")

    def _start_all(self) -> None:
        for each in self.members:
            each.start()

    def _kill_all(self) -> None:
        for each in self.members:
            each.kill()

    def _find_primary(self) -> MongodProcess | None:
        hellos = [(each, answer(each, lambda client: client.admin.command("hello"))) for each in self.members]
        found = [
            (hello["electionId"], each) for each, hello in hellos if hello and hello["isWritablePrimary"]
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _is_settled(self) -> bool:
        status = answer(self.members[0], lambda client: client.admin.command("replSetGetStatus"))
        if status is None:
            return False
        states = sorted(each["stateStr"] for each in status["members"])
        optimes = {str(each.get("optime")) for each in status["members"]}
        return states == [PRIMARY, *[SECONDARY] * (MEMBERS - 1)] and len(optimes) == 1


def direct(member: MongodProcess) -> "MongoClient[dict[str, Any]]":
    """Return a client of this one member, with little patience."""
    return MongoClient(member.address, directConnection=True, timeoutMS=15_000)


def answer(member: MongodProcess, ask: "Callable[[MongoClient[dict[str, Any]]], T]") -> T | None:
    """Return what a member says; None if it is away or frozen."""
    if member.process is None:
        return None
    try:
        with MongoClient[dict[str, Any]](member.address, directConnection=True, timeoutMS=500) as client:
            return ask(client)
    except PyMongoError:
        return None


def fail_point(member: MongodProcess, name: str, mode: str) -> None:
    """Switch a failpoint of one member (`alwaysOn`, `off`)."""
    with direct(member) as client:
        client.admin.command("configureFailPoint", name, mode=mode)
