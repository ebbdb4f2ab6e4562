"""As the first process of a container: without rights, on a root file system that is read-only."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine, Ended
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

NAMESPACES = ("unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
READ_ONLY_ROOT = (
    f'mount --bind "$0" "$0"; mount -o remount,bind,ro /; cd "$0"; exec {shlex.join(WITHOUT_RIGHTS)} "$@"'
)


def obstacle() -> str:
    """Return why no container can be made here, or an empty text."""
    if os.geteuid() != 0:
        return "root is needed"
    absent = [name for name in ("unshare", "nsenter", "setpriv", "ps") if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    probe = (*NAMESPACES, "mount", "-t", "tmpfs", "probe", "/mnt")
    refused = subprocess.run(probe, capture_output=True, check=False).returncode
    return "namespaces and mounts are not allowed" if refused else ""


class Container:
    """A daemon as process 1, writing nowhere but into its STATE_DIR."""

    def __init__(self, start: Callable[..., DaemonProcess], cli: CommandLine, *arguments: str) -> None:
        cli.state_dir.mkdir()
        before = (*NAMESPACES, "sh", "-euc", READ_ONLY_ROOT, str(cli.state_dir))
        self.daemon = start(replace(cli, before=before), *arguments)
        self.cli = cli
        self.pid: int = eventually(self._first_process, message="process 1")

    def _first_process(self) -> int:
        assert self.daemon.process.poll() is None, self.daemon.told()
        titles = self.daemon.processes().items()
        return next((pid for pid, title in titles if title.startswith("clientsync: supervisor")), 0)

    def run(self, *command: str) -> Ended:
        """Run a command inside, as `docker exec` does."""
        into = ("nsenter", "--target", str(self.pid), "--pid", "--mount", *WITHOUT_RIGHTS)
        return replace(self.cli, before=into, command=command)()

    def healthy(self) -> None:
        """Wait for what the HEALTHCHECK of the Dockerfile waits for."""
        check = (*self.cli.command, "status")
        eventually(lambda: self.run(*check).code == 0, 30, "healthy")

    def processes(self) -> list[str]:
        """Return the titles of all processes inside, zombies too, but for the one that asks."""
        titles = self.run("ps", "-axo", "args=").out.splitlines()
        return sorted(title.strip() for title in titles if not title.startswith("ps "))


@pytest.fixture
def container(connected: CommandLine, run: Callable[..., DaemonProcess]) -> Container:
    if reason := obstacle():
        pytest.skip(f"no container can be made: {reason}")
    container = Container(run, connected, "start", "sync")
    container.healthy()
    return container


def test_it_mirrors_without_rights_on_a_read_only_root_and_stops_cleanly(
    container: Container, source: "Collection[Customer]", mirror: "Collection[Customer]"
) -> None:
    source.insert_many([customer(each) for each in range(100)])
    eventually(lambda: mirror.count_documents({}) == 100 and are_twins(source, mirror))

    os.kill(container.pid, signal.SIGTERM)

    assert container.daemon.wait() == 0
    assert container.daemon.wait_for("stopped")["exit_code"] == 0
    assert container.daemon.processes() == {}


def test_it_buries_what_others_leave_behind(container: Container) -> None:
    ours = container.processes()

    container.run("sh", "-c", "sleep 0.1 >/dev/null 2>&1 & echo $!")

    assert len(ours) >= 4
    eventually(lambda: container.processes() == ours, message="no zombie")


def test_a_killed_child_is_replaced(container: Container) -> None:
    titles = container.processes()

    container.run("sh", "-c", "kill -9 $(ps -axo pid=,args= | awk '/clientsync: writer/ {print $1; exit}')")

    container.daemon.wait_for("child_died")
    container.healthy()
    eventually(lambda: container.processes() == titles)
