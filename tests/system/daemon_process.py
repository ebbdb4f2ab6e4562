"""A daemon as a subprocess, and what a test can see and do from outside."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from supervisor.control import NoAnswer, NotRunning, ask
from tests.eventually import eventually
from tests.system.command_line import ENDS_S, CommandLine

Record = dict[str, Any]


class DaemonProcess:
    """One daemon; its standard streams go into files. `cli` runs the commands that ask it."""

    def __init__(
        self, starter: CommandLine, *arguments: str, cli: CommandLine | None = None, instance: str = "default"
    ) -> None:
        self.cli = cli or starter
        self.directory, self.state_dir = starter.directory, starter.state_dir
        self.instance = instance
        self.log = starter.directory / f"{instance}.out"
        self.errors = starter.directory / f"{instance}.err"
        named = () if instance == "default" else ("--instance", instance)
        with self.log.open("ab") as out, self.errors.open("ab") as err:
            self.process = starter.spawn(*named, *arguments, stdout=out, stderr=err)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, *command: str) -> Any:
        """Run a command that asks this daemon."""
        return self.cli("--instance", self.instance, *command)

    def status(self) -> dict[str, Any]:
        """Return what `status --json` prints; empty while there is no daemon to ask.

        Without the command, which takes longer to load than a daemon to start: this is asked over and over.
        """
        try:
            answer = ask(self.state_dir / f"{self.instance}.sock", "status", 5)
        except (NotRunning, NoAnswer):
            return {}
        self.cli.assert_fit_to_be_seen(json.dumps(answer, ensure_ascii=False))
        return answer

    def child(self, name: str) -> dict[str, Any]:
        """Return what status says of a child; empty if nothing."""
        found = [child for child in self.status().get("children", []) if child["name"] == name]
        return found[0] if found else {}

    def healthy(self) -> dict[str, Any]:
        """Wait until the daemon is healthy; return its status."""

        def is_healthy() -> dict[str, Any]:
            assert self.process.poll() is None, f"exit code {self.process.returncode}: {self.told()}"
            status = self.status()
            return status if status.get("healthy") else {}

        return dict(eventually(is_healthy, 30, "healthy"))

    def replaced(self, name: str, pid: int) -> dict[str, Any]:
        """Wait until another process than `pid` is at work as `name`; return what status says of it."""

        def is_replaced() -> dict[str, Any]:
            child = self.child(name)
            return child if child.get("state") == "running" and child["pid"] != pid else {}

        return dict(eventually(is_replaced, 30, f"{name} replaced"))

    def pids(self) -> dict[str, int]:
        return {child["name"]: child["pid"] for child in self.status()["children"]}

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = ENDS_S) -> int:
        """Return the exit code."""
        return self.process.wait(timeout_s)

    def events(self, name: str) -> list[Record]:
        """Return the log lines with this event."""
        return [record for record in self.records() if record["event"] == name]

    def records(self) -> list[Record]:
        """Return the whole lines that were logged so far, as objects."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def wait_for(self, event: str, timeout_s: float = 30) -> Record:
        """Return the last record of `event`, as soon as there is one."""

        def logged() -> list[Record]:
            found = self.events(event)
            assert found or self.process.poll() is None, f"exit code {self.process.returncode}: {self.told()}"
            return found

        found: list[Record] = eventually(logged, timeout_s, event)
        return found[-1]

    def processes(self) -> dict[int, str]:
        """Return pid and title of the daemon and of all below it that live."""
        return processes_of(self.pid)

    def told(self) -> str:
        """Return what went to stderr."""
        return self.errors.read_text()

    def end(self) -> None:
        """Kill what is left of it, stopped or not."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.cli.assert_fit_to_be_seen(self.log.read_text() + self.told())


def processes_of(session: int) -> dict[int, str]:
    """Return pid and command line of every live process in this session: a daemon and all below it."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: state, ppid, pgrp, session
            state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            title = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if int(its_session) == session and state not in "ZX":
            found[int(process.name)] = title
    return found
