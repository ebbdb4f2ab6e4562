"""A MongoDB that is not there: the daemon waits for it, and still does what it is told."""

from collections.abc import Callable
from pathlib import Path

from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

Run = Callable[..., DaemonProcess]


def ends(daemon: DaemonProcess) -> dict[str, str]:
    """Return how each child ended."""
    return {line["child"]: line["cause"] for line in daemon.events("child_ended")}


def test_a_stop_while_mongodb_cannot_be_reached_is_orderly(command: CommandLine, run: Run) -> None:
    daemon = run(command.having(MONGO_URI="mongodb://127.0.0.1:1/?replicaSet=rs"), "start")
    daemon.wait_for("mongodb_unreachable")

    assert daemon.ask("stop").code == 0

    assert ends(daemon) == dict.fromkeys(("generator", "listener", "scanner", "writer"), "exit code 0")


def test_a_stop_after_mongodb_has_gone_is_orderly(command: CommandLine, run: Run, tmp_path: Path) -> None:
    with MongodProcess(tmp_path / "mongod") as mongod:
        daemon = run(command.having(MONGO_URI=mongod.uri), "start", "sync")
        daemon.healthy()
    daemon.wait_for("mongodb_unreachable")

    assert daemon.ask("stop").code == 0

    assert ends(daemon) == dict.fromkeys(("listener", "scanner", "writer"), "exit code 0")
