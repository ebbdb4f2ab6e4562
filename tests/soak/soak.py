"""Two daemons under steady load for long: one is left alone and measured, the other is killed and killed.

They mirror one source into a mirror each, so both do all the work all the time.
"""

import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pymongo import MongoClient

from procs.config import Database
from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.soak import gauges
from tests.soak.curves import Curves
from tests.soak.load import Load
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins

SERVER_OPTIONS = tuple(
    f"--setParameter={parameter}"
    for parameter in (
        # What is abandoned goes after a minute or two, not half an hour: its curve levels off while we look.
        "localLogicalSessionTimeoutMinutes=2",
        "logicalSessionRefreshMillis=20000",
        "TransactionRecordMinimumLifetimeMinutes=2",
        "cursorTimeoutMillis=60000",
    )
)

SAMPLE_EVERY_S = 5.0
CHORE_EVERY_S = 7.0
SHAKEN_MIRROR = "customers_shaken"
CONVERGES_S = 40
"""Less than the minute for which a killed `--full` would hold its customers if nobody ended that."""
REST_S = 4.0
"""Longer than a flush and a lease."""


@dataclass
class Report:
    """What was done and measured; as a text, for one that went well."""

    curves: Curves = field(default_factory=Curves)
    chores: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    customers: int = 0

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.chores.items()))
        grown = self.curves.grown()
        verdict = f"GROWS without bound: {', '.join(grown)}" if grown else "nothing grows"
        return (
            f"{self.rounds} rounds of load; {done}\n"
            f"{self.customers} customers, both mirrors equal, and still so after a rest; {verdict}"
        )


class Soak:
    """`cli` has the settings of both daemons, `database` the mirror of the one that is left alone."""

    def __init__(self, cli: CommandLine, mongod: MongodProcess, database: Database, seed: int) -> None:
        self.report = Report()
        self._mongod, self._database = mongod, database
        self._dice = random.Random(seed)
        self._seed = seed
        self._steady_cli, self._shaken_cli = cli, cli.having(MIRROR_COLLECTION=SHAKEN_MIRROR)
        self._env_file = cli.directory / ".env"
        self._tell_settings()
        self._daemons: dict[str, DaemonProcess] = {}

    def run(
        self, seconds: float, *, sample_every_s: float, chore_every_s: float, rest_s: float = REST_S
    ) -> Report:
        """Soak for so long, and until every chore was done once.

        AssertionError: a mirror is wrong, or a command or the steady daemon failed.
        """
        try:
            with MongoClient[Any](self._database.uri, timeoutMS=30_000) as client:
                self._daemons = {"steady": self._start("steady"), "shaken": self._start("shaken")}
                with Load(self._database, self._seed) as load:
                    self._settle()
                    self._go_on(client, seconds, sample_every_s, chore_every_s)
                self.report.rounds = load.rounds
                self._tell_settings(pause_ms=86_400_000)
                self._expect(self._steady.ask("reload"))
                self._judge(client, rest_s)
        finally:
            for daemon in self._daemons.values():
                daemon.end()
        return self.report

    @property
    def _steady(self) -> DaemonProcess:
        return self._daemons["steady"]

    @property
    def _shaken(self) -> DaemonProcess:
        return self._daemons["shaken"]

    def _start(self, name: str) -> DaemonProcess:
        if name == "steady":  # with the generator
            return DaemonProcess(self._steady_cli, "start", instance=name)
        return DaemonProcess(self._shaken_cli, "start", "sync", instance=name)

    def _settle(self) -> None:
        """Kill each child of the steady daemon once, as early as that; from then on it is left alone."""
        self._steady.healthy()
        for child in ("generator", "writer"):
            pid = self._steady.pids()[child]
            os.kill(pid, signal.SIGKILL)
            self._steady.replaced(child, pid)
        self._steady.healthy()

    def _go_on(
        self, client: MongoClient[Any], seconds: float, sample_every_s: float, chore_every_s: float
    ) -> None:
        every_chore = list(self._chores())
        chores = itertools.cycle(every_chore)
        began = time.monotonic()
        sample_at = chore_at = began
        before = self._steady.pids()
        while (now := time.monotonic()) < began + seconds or self.report.chores.total() < len(every_chore):
            if now >= sample_at:
                self.report.curves.add(now - began, self._sample(client))
                sample_at = now + sample_every_s
            if now >= chore_at:
                name, chore = next(chores)
                chore()
                self.report.chores[name] += 1
                chore_at = now + chore_every_s
            time.sleep(0.05)
        assert self._steady.pids() == before, "a child of the daemon that was left alone has ended"

    def _sample(self, client: MongoClient[Any]) -> dict[str, float]:
        status = self._steady.status()
        mongod = self._mongod.process
        assert mongod is not None
        return {
            **gauges.of_daemon(self._steady),
            **gauges.of_server(client, self._database.name),
            "mongod memory_kb": gauges.of_process(mongod.pid)["private_kb"],
            "mongod files": gauges.of_process(mongod.pid)["fds"],
            "state_dir_bytes": gauges.of_directory(self._steady_cli.state_dir),
            "steady lag_ms": float(status["sync"]["lag_ms"] or 0),
            "steady pending": float(status["sync"]["pending"] or 0),
        }

    # What happens meanwhile, one after the other
    def _chores(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "reload", self._reload
        yield "kill of a child", self._kill_a_child
        yield "full", self._full
        yield "kill of a child", self._kill_a_child
        yield "verify", self._verify
        yield "kill of a supervisor", self._kill_the_supervisor
        yield "kill of a child", self._kill_a_child
        yield "killed full", self._full_killed

    def _reload(self) -> None:
        self._tell_settings()
        self._expect(self._steady.ask("reload"))

    def _tell_settings(self, pause_ms: int = 200) -> None:
        size, level = self._dice.choice((100, 500, 1000)), self._dice.choice(("INFO", "DEBUG"))
        self._env_file.write_text(
            f"SYNC_BATCH_SIZE={size}\nLOG_LEVEL={level}\nFAKER_FILLING_DELAY_MS={pause_ms}\n"
        )

    def _kill_a_child(self) -> None:
        titles = self._shaken.processes()
        children = [pid for pid in sorted(titles) if pid != self._shaken.pid]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._dice.choice(children), signal.SIGKILL)

    def _kill_the_supervisor(self) -> None:
        self._shaken.end()
        self._shaken.log.unlink()
        self._daemons["shaken"] = self._start("shaken")

    def _full(self) -> None:
        self._expect(self._steady_cli("start", "--full"))

    def _full_killed(self) -> None:
        full = DaemonProcess(self._shaken_cli, "start", "--full", instance="killed")
        eventually(lambda: len(full.processes()) > 1 or full.process.poll() is not None)
        time.sleep(self._dice.random() / 4)
        full.end()

    def _verify(self) -> None:
        self._expect(self._steady_cli("verify", "--json"))

    def _expect(self, ended: Any) -> None:
        assert ended.code == 0, ended

    def _judge(self, client: MongoClient[Any], rest_s: float) -> None:
        source = client[self._database.name][self._database.source]
        mirrors = [client[self._database.name][name] for name in (self._database.mirror, SHAKEN_MIRROR)]
        for mirror in mirrors:
            eventually(partial(are_twins, source, mirror), CONVERGES_S, f"{mirror.name} equal to the source")
        time.sleep(rest_s)
        assert all(are_twins(source, mirror) for mirror in mirrors), "a mirror went wrong at rest"
        self.report.customers = source.count_documents({})
        for daemon in (self._steady, self._shaken):
            self._expect(daemon.ask("stop"))
            assert daemon.wait() == 0


def settings(mongod: MongodProcess, database: Database) -> dict[str, str]:
    """Return the environment of both daemons."""
    return {"MONGO_URI": mongod.uri, "MONGO_DB": database.name, "SYNC_FLUSH_MS": "200"}
