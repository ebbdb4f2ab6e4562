"""R6: no crash of any process leaves a core dump, for a core holds customers and secrets in clear."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongod_process import mongods_of
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

Run = Callable[..., DaemonProcess]

OFF = {"0", "1"}
"""1 is off too, even where the kernel hands cores to a program. A hard limit of 0 cannot be raised to it."""


def unlimited(cli: CommandLine) -> CommandLine:
    """Let what `cli` starts dump its core as far as this machine allows at all."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = "unlimited" if most == resource.RLIM_INFINITY else str(most)
    return replace(cli, before=("prlimit", f"--core={allowed}:{allowed}"))


def core_limits(pid: int) -> set[str]:
    """Return the soft and the hard limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("Max core file size")).split()[4:6])


def cores(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*core*") if path.is_file()]


def ended_by_abort(pid: int) -> int:
    """Have one of our own processes abort; return the code of waitid: CLD_DUMPED or CLD_KILLED."""
    os.kill(pid, signal.SIGABRT)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_code


def test_no_process_of_the_daemon_may_dump_its_core_nor_does(command: CommandLine, run: Run) -> None:
    daemon = run(unlimited(command), "start")
    children = {child["name"]: child["pid"] for child in daemon.healthy()["children"]}
    (mongod,) = mongods_of(command.state_dir / "mongod")
    limits = {title: core_limits(pid) for pid, title in daemon.processes().items()}

    os.kill(children["writer"], signal.SIGABRT)
    daemon.replaced("writer", children["writer"])
    os.kill(mongod, signal.SIGABRT)
    daemon.replaced("server", children["server"])
    ended = ended_by_abort(daemon.pid)

    assert len(limits) == 1 + 5 + 1, limits
    assert all(limit <= OFF for limit in limits.values()), limits
    assert ended == os.CLD_KILLED
    assert cores(command.directory) == []


def test_a_command_that_reads_customers_may_not_dump_its_core(
    connected: CommandLine, client: MongoClient[dict[str, Any]]
) -> None:
    held = {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 1_500}
    fail = {"appName": "clientsync verify", **held}
    client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=fail)
    verify = unlimited(connected).spawn("verify")
    try:
        eventually(lambda: core_limits(verify.pid) <= OFF, 5)
    finally:
        verify.kill()
        verify.wait()
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="nothing may dump its core on this machine"
)
def test_without_that_limit_a_core_would_be_noticed(tmp_path: Path) -> None:
    sleeper = unlimited(replace(CommandLine(tmp_path), command=("sleep", "60"))).spawn()
    eventually(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n")

    ended = ended_by_abort(sleeper.pid)
    sleeper.wait()

    assert not core_limits(os.getpid()) <= OFF
    assert ended == os.CLD_DUMPED or Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
