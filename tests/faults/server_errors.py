"""What a server may answer, and the commands of the product that it may answer so: two tables."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pymongo import MongoClient

from tests.faults.effort import IN_FULL


class Command(NamedTuple):
    """`role` sends the `name`d command; `at_start`: when it starts, and not with every change."""

    role: str
    name: str
    at_start: bool = False
    in_transaction: bool = False


class Fault(NamedTuple):
    """`data` of the failpoint failCommand: https://github.com/mongodb/mongo/wiki/The-failCommand-fail-point

    An `errorCode` or a closed connection comes in the place of the effect, a `writeConcernError` after it.
    `ends`: nothing says that waiting mends it, so the child may end, and is replaced.
    """

    name: str
    data: dict[str, Any]
    ends: bool = False


class Case(NamedTuple):
    """`command` is answered with `fault` so many `times`; 0: until it has happened often."""

    command: Command
    fault: Fault
    times: int

    def __str__(self) -> str:
        often = f"{self.times} times" if self.times else "for a while"
        return f"{self.command.role} {self.command.name}: {self.fault.name}, {often}"


class Failing:
    """A server that answers one command of one child with a fault; everybody else sees it at work."""

    def __init__(self, client: "MongoClient[dict[str, Any]]") -> None:
        self._client = client
        self._already = 0

    def answer(self, case: Case) -> None:
        """From now on it answers so."""
        appname = f"clientsync {case.command.role}"
        data = {"appName": appname, "failCommands": [case.command.name], **case.fault.data}
        mode = {"times": case.times} if case.times else "alwaysOn"
        self._already = self._set(mode=mode, data=data)

    def hits(self) -> int:
        """Return how often it has answered so."""
        name = "failpoint.failCommand"
        found = self._client.admin.command({"getParameter": 1, name: 1})
        return int(found[name]["timesEntered"]) - self._already

    def stop(self) -> None:
        self._set(mode="off")

    def _set(self, **how: Any) -> int:
        return int(self._client.admin.command("configureFailPoint", "failCommand", **how)["count"])


COMMANDS = (
    Command("listener", "find", at_start=True),
    Command("listener", "listCollections", at_start=True),
    Command("listener", "findAndModify", at_start=True),
    Command("listener", "aggregate", at_start=True),
    Command("listener", "killSessions", at_start=True),
    Command("listener", "delete", at_start=True),
    Command("listener", "getMore"),
    Command("listener", "update"),
    Command("scanner", "find", at_start=True),
    Command("scanner", "update", at_start=True),
    Command("scanner", "commitTransaction", at_start=True, in_transaction=True),
    Command("scanner", "find", in_transaction=True),
    Command("scanner", "insert", in_transaction=True),
    Command("scanner", "update", in_transaction=True),
    Command("scanner", "delete", in_transaction=True),
    Command("scanner", "commitTransaction", in_transaction=True),
    Command("writer", "find", in_transaction=True),
    Command("writer", "insert", in_transaction=True),
    Command("writer", "update", in_transaction=True),
    Command("writer", "delete", in_transaction=True),
    Command("writer", "commitTransaction", in_transaction=True),
)

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
AWAY = {
    "HostUnreachable": 6,
    "HostNotFound": 7,
    "NetworkTimeout": 89,
    "ShutdownInProgress": 91,
    "PrimarySteppedDown": 189,
    "ExceededTimeLimit": 262,
    "SocketException": 9001,
    "NotWritablePrimary": 10107,
    "InterruptedAtShutdown": 11600,
    "InterruptedDueToReplStateChange": 11602,
    "NotPrimaryNoSecondaryOk": 13435,
    "NotPrimaryOrSecondary": 13436,
}
PASSING = {
    "LockTimeout": 24,
    "CursorNotFound": 43,
    "MaxTimeMSExpired": 50,
    "WriteConflict": 112,
    "CursorKilled": 237,
    "SnapshotUnavailable": 246,
    "NoSuchTransaction": 251,
    "Interrupted": 11601,
}
STRANGE = {"InternalError": 1, "UnknownError": 8, "OperationFailed": 96, "ExceededMemoryLimit": 146}
HISTORY = {"ChangeStreamFatalError": 280, "ChangeStreamHistoryLost": 286}
NOT_CONFIRMED = {
    "WriteConcernFailed": 64,
    "ShutdownInProgress": 91,
    "PrimarySteppedDown": 189,
    "InterruptedDueToReplStateChange": 11602,
}
LABELS = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")


def _not_confirmed(name: str, code: int) -> dict[str, Any]:
    info = {"wtimeout": True} if name == "WriteConcernFailed" else {}
    return {"writeConcernError": {"code": code, "codeName": name, "errmsg": "not confirmed", "errInfo": info}}


CUT = Fault("cut connection", {"closeConnection": True})
UNLABELLED = tuple(
    Fault(f"{name}, unlabelled", {"errorCode": AWAY[name], "errorLabels": []})
    for name in ("HostUnreachable", "PrimarySteppedDown", "NotWritablePrimary")
)
BEFORE = (
    CUT,
    *(Fault(name, {"errorCode": code}) for name, code in (AWAY | PASSING).items()),
    *UNLABELLED,
    *(Fault(name, {"errorCode": code}, ends=True) for name, code in STRANGE.items()),
    *(Fault(f"labelled {label}", {"errorCode": 8, "errorLabels": [label]}, ends=True) for label in LABELS),
)
LOST = tuple(Fault(name, {"errorCode": code}) for name, code in HISTORY.items())
AFTER = tuple(
    Fault(f"{name} after the effect", _not_confirmed(name, code)) for name, code in NOT_CONFIRMED.items()
)
WITH_WRITE_CONCERN = ("findAndModify", "update", "delete")
"""The commands that ask for one, except within a transaction, where only the commit does."""

LASTING = ("cut connection", "NotWritablePrimary", "WriteConflict", "NoSuchTransaction")


def _faults(command: Command) -> Iterator[Fault]:
    yield from BEFORE
    if command.name == "getMore":
        yield from LOST
    if command.name == "commitTransaction" or (
        command.name in WITH_WRITE_CONCERN and not command.in_transaction
    ):
        yield from AFTER


def _cases(command: Command) -> Iterator[Case]:
    for fault in _faults(command):
        # What the fence deletes is gone after a first answer, so that it is not sent again.
        once = command.name == "delete" and fault in AFTER and not command.in_transaction
        for times in (1,) if once else (1, 3, 0) if fault.name in LASTING else (1, 3):
            yield Case(command, fault, times)


def _some() -> Iterator[Case]:
    """A case of each command that follows a change, each with another fault; and one of each other kind."""
    for number, command in enumerate(each for each in COMMANDS if not each.at_start):
        cases = list(_cases(command))
        yield cases[number * 7 % len(cases)]
    yield Case(Command("listener", "killSessions", at_start=True), CUT, 3)
    yield Case(Command("listener", "update"), UNLABELLED[0], 1)
    yield Case(Command("listener", "getMore"), LOST[0], 3)
    yield Case(Command("writer", "commitTransaction", in_transaction=True), AFTER[0], 1)


CASES = tuple(case for command in COMMANDS for case in _cases(command)) if IN_FULL else tuple(_some())
