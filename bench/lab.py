"""What every question needs: a mongod, customers in it, the product beside it, and clocks."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from bench.rows import Sample
from procs import mongod
from procs.customers import Customers
from supervisor.control import ask
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess, processes_of

Document = dict[str, Any]
BATCH = 1000
PROBE: Document = {"_id": ObjectId(bytes(12))}
"""Which customer is changed to see how long that takes; below all others."""
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = (str(Path(sys.executable).with_name("clientsync-supervisor")),)
LONG_S = 900.0


@dataclass(frozen=True)
class Lab:
    """One mongod with a login, like that of a user; everything of a question happens on it."""

    quick: bool
    directory: Path
    uri: str
    client: "MongoClient[Document]"
    mongod_pid: int

    def pick(self, quick: Any, full: Any) -> Any:
        """Return the first for a first look, else the second."""
        return quick if self.quick else full

    @property
    def rounds(self) -> int:
        """How often everything is measured."""
        return 2 if self.quick else 5

    def command(self, database: "Database[Document]", **settings: str) -> CommandLine:
        """Return the product's command line on `database`."""
        place = self.directory / database.name
        place.mkdir(exist_ok=True)
        return CommandLine(
            place, {"MONGO_URI": self.uri, "MONGO_DB": database.name, **settings}, command=COMMAND
        )

    def full(self, command: CommandLine) -> None:
        """Run `start --full` to its end."""
        ended = command("start", "--full", timeout_s=LONG_S)
        assert ended.code == 0, ended

    def verified(self, command: CommandLine) -> None:
        """A figure counts only if the work was done: compare the whole mirror with the source."""
        ended = command("verify", timeout_s=LONG_S)
        assert ended.code == 0, ended

    def measure(self, action: Callable[[], object], cpu: "Callable[[], float] | None" = None) -> Sample:
        """Return the seconds that `action` takes, and the CPU seconds of clients (`cpu`: ours) and mongod."""
        self.rest()
        cpu = cpu or own_cpu
        cpu_before, mongod_before = cpu(), cpu_of(self.mongod_pid)
        began = time.perf_counter()
        action()
        seconds = time.perf_counter() - began
        return Sample(seconds, cpu() - cpu_before, cpu_of(self.mongod_pid) - mongod_before)

    def rest(self) -> None:
        """Have mongod write down what earlier rounds left to write."""
        self.client.admin.command("fsync")


@contextlib.contextmanager
def laboratory(quick: bool) -> Iterator[Lab]:
    """Yield a lab; nothing is left of it afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="clientsync-bench-") as directory,
        mongod.running(Path(directory) / "mongod") as uri,
        MongoClient[Document](uri) as client,
    ):
        pid = client.admin.command("serverStatus")["pid"]
        yield Lab(quick, Path(directory), uri, client, int(pid))


@contextlib.contextmanager
def running(
    command: CommandLine, *arguments: str, instance: str = "default", healthy: bool = True
) -> Iterator[DaemonProcess]:
    """Yield a daemon (`start`, and so on), healthy or just begun; stopped afterwards."""
    daemon = DaemonProcess(command, *arguments, instance=instance)
    try:
        if healthy:
            daemon.healthy()
        yield daemon
        daemon.process.terminate()
        assert daemon.wait() == 0, daemon.told()
    finally:
        daemon.end()


def status_of(daemon: DaemonProcess) -> Document:
    """Return what `status` shows, without the price of a command."""
    return ask(daemon.state_dir / f"{daemon.instance}.sock", "status", 5)


def fill(customers: "Collection[Document]", count: int, padding: int = 0) -> None:
    """Insert so many fake customers, each longer by `padding` bytes."""
    made, notes = Customers("en_US", seed=1), {"notes": "x" * padding} if padding else {}
    batch = BATCH if padding < 5_000 else BATCH // 20
    for first in range(0, count, batch):
        some = made.batch(min(batch, count - first))
        customers.insert_many([{**each, **notes} for each in some], ordered=False)


def raw_copy(source: "Collection[Document]", target_name: str) -> None:
    """Copy as MongoDB and the driver allow it at best: raw, in the order of `_id`, 1000 at a time."""
    target = source.database.get_collection(target_name, codec_options=RAW)
    batch: list[RawBSONDocument] = []
    for document in source.with_options(codec_options=RAW).find(sort=[("_id", 1)]):
        batch.append(document)
        if len(batch) == BATCH:
            target.insert_many(batch, ordered=False)
            batch = []
    if batch:
        target.insert_many(batch, ordered=False)


def soon(condition: Callable[[], Any], timeout_s: float, pause_s: float, what: str) -> float:
    """Return the seconds until `condition` is met; asks again after `pause_s`."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > timeout_s:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)
    return time.perf_counter() - began


def own_cpu() -> float:
    """Return the CPU seconds of this process, and of all that it has waited for."""
    return sum(os.times()[:4])


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process, and of all that it has waited for; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: utime, stime, cutime, cstime
    return sum(map(int, fields[11:15])) / TICKS


def cpu_of_session(leader: int) -> Callable[[], float]:
    """Return a clock: the CPU seconds of all processes of the session (setsid) that `leader` leads."""
    return lambda: sum(cpu_of(pid) for pid in processes_of(leader))


def up_to_date(mirror: "Collection[Document]", field: str, value: Any) -> Callable[[], bool]:
    """Return a condition: every image has this value. Asks about one that has not, until that one has it."""
    behind: list[Any] = []

    def check() -> bool:
        while True:
            if behind:
                found = mirror.find_one({"_id": behind[0]}, {field: 1})
                if found is None or found.get(field) != value:
                    return False
            from_there = {"_id": {"$gt": behind[0]}} if behind else {}
            later = mirror.find_one({field: {"$ne": value}, **from_there}, {"_id": 1}, sort=[("_id", 1)])
            if later is None:
                return mirror.find_one({field: {"$ne": value}}, {"_id": 1}) is None
            behind[:] = [later["_id"]]

    return check
