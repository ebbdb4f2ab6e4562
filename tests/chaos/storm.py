"""Kills and stops whatever runs while applications write; then the mirror must be right, and stay so."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient

from procs.anonymise import Anonymiser
from procs.config import Database
from supervisor.settings import load
from tests.chaos.writers import Writer
from tests.eventually import eventually
from tests.mongo.customers import bytes_by_id, images
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

SKEWS_S = (0, 7_200, -86_400)
LIVE = ("one", "two")
PAUSE_S = (0.05, 0.5)
SUPERVISORS = 0.1
"""The share of blows that hit a supervisor, and with it all its children."""

CONVERGES_S = 120
REST_S = 6.0
"""Longer than a lease, a flush and the wait of a stalled writer."""


@dataclass
class Report:
    """What a storm did."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    written: int = 0
    customers: int = 0
    converged_s: float = 0.0

    def __str__(self) -> str:
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (
            f"seed {self.seed}: {self.kills.total()} kills ({killed}), {self.stops.total()} stops, "
            f"{self.written} writes, {self.customers} customers, converged after {self.converged_s:.1f} s"
        )


class Storm:
    """Two live instances and one reindex after the other, on `database`, in the directory of `cli`."""

    def __init__(self, cli: CommandLine, database: Database, seed: int) -> None:
        self.report = Report(seed)
        self._cli, self._database = cli, database
        self._dice = random.Random(seed)
        self._daemons: dict[str, DaemonProcess] = {}

    def rage(self, seconds: float) -> Report:
        """Run for so long, calm down, and return what was done. AssertionError: the mirror is wrong."""
        writers = [
            Writer(self._database.uri, self._database.name, self._database.source, seed, skew_s)
            for seed, skew_s in enumerate(SKEWS_S, start=self.report.seed * 1000)
        ]
        try:
            with contextlib.ExitStack() as stack:
                for writer in writers:
                    stack.enter_context(writer)
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    self._keep_running(*LIVE, "full")
                    self._strike()
            self.report.written = sum(writer.done for writer in writers)
            self._keep_running(*LIVE)
            self._judge()
        finally:
            for daemon in self._daemons.values():
                daemon.end()
        return self.report

    def _keep_running(self, *names: str) -> None:
        """Start what is not there; replace a daemon that has lost so many children that it goes slowly."""
        for name in names:
            daemon = self._daemons.get(name)
            if daemon is not None and daemon.process.poll() is None:
                if name == "full" or not daemon.events("group_degraded"):
                    continue
                self._kill(daemon.pid, "supervisor")
            if daemon is not None:
                daemon.process.wait()
                daemon.log.unlink()
            how = ("start", "--full") if name == "full" else ("start", "sync")
            # Small batches: what waits after a kill is then copied in halves, side by side.
            cli = self._cli.having(SYNC_BATCH_SIZE="100") if name == LIVE[1] else self._cli
            self._daemons[name] = DaemonProcess(cli, *how, instance=name)

    def _strike(self) -> None:
        """Kill or stop one process, or let things go on for a moment."""
        time.sleep(self._dice.uniform(*PAUSE_S))
        daemon = self._dice.choice(list(self._daemons.values()))
        children = [each for each in sorted(daemon.processes().items()) if each[0] != daemon.pid]
        if self._dice.random() < SUPERVISORS or not children:
            pid, role = daemon.pid, "supervisor"
        else:
            pid, title = self._dice.choice(children)
            role = title.split()[1] if title.startswith("clientsync: ") else "newborn"
        if self._dice.random() < 0.15:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.report.stops[role] += 1
                time.sleep(self._dice.choice((0.2, 1.0, 4.0)))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        else:
            self._kill(pid, role)

    def _kill(self, pid: int, role: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.report.kills[role] += 1

    def _judge(self) -> None:
        policy = load(None, {"MONGO_URI": self._database.uri}, instance="oracle").sync.policy
        anonymise = Anonymiser(policy)
        with MongoClient[Any](self._database.uri, timeoutMS=30_000) as client:
            source = client[self._database.name][self._database.source]
            mirror = client[self._database.name][self._database.mirror]

            def wrong() -> int:
                wanted, found = images(source, anonymise), bytes_by_id(mirror)
                return sum(wanted.get(id_) != found.get(id_) for id_ in wanted.keys() | found.keys())

            began = time.monotonic()
            eventually(lambda: wrong() == 0, CONVERGES_S, f"convergence, {wrong()} customers wrong")
            self.report.converged_s = time.monotonic() - began
            self.report.customers = source.count_documents({})
            time.sleep(REST_S)
            assert wrong() == 0, f"{wrong()} customers went wrong while the source was at rest"
