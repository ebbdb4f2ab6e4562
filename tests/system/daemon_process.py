"""A supervisor as a subprocess, and what a test can see and do from outside."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.eventually import eventually

COMMAND = [sys.executable, "-m", "supervisor"]
EXIT_S = 30


class DaemonProcess:
    """One daemon in a STATE_DIR of its own; its standard streams go into files."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        command: Iterable[str] = COMMAND,
        env: Mapping[str, str] = {},
        instance: str = "default",
    ) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.instance = instance
        directory.mkdir(exist_ok=True)
        self.env = clean_environment() | {"STATE_DIR": str(self.state_dir)} | dict(env)
        self.log = directory / f"{instance}.out"
        self.errors = directory / f"{instance}.err"
        with self.log.open("ab") as out, self.errors.open("ab") as err:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def cli(self, *arguments: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a command that asks this daemon."""
        return subprocess.run(
            [*COMMAND, "--instance", self.instance, *arguments],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says; empty while there is no daemon to ask."""
        asked = self.cli("status", "--json")
        return json.loads(asked.stdout) if asked.stdout else {}

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

    def wait(self, timeout_s: float = EXIT_S) -> int:
        """Return the exit code."""
        return self.process.wait(timeout_s)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines with this event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

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
            os.kill(pid, signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """Return our environment without settings of clientsync."""
    ours = ("SYNC_", "FAKER_", "ANON_", "MONGO_", "LOG_", "STATE_", "RUNTIME_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


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
