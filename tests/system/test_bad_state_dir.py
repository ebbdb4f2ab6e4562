"""A STATE_DIR that cannot serve, damaged files in it, and a name in it that is taken."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.command_line import CommandLine, left_behind
from tests.system.daemon_process import DaemonProcess
from tests.system.small_disk import fill, small_disk
from tests.system.unprivileged import UNPRIVILEGED

Run = Callable[..., DaemonProcess]

GARBAGE = b"\xff\x00garbage\n{]\n" * 50
REMEDY = "set it to a directory of your own, with space left"


@pytest.fixture
def external(command: CommandLine) -> CommandLine:
    """The command line with a MongoDB elsewhere, which does not answer."""
    return command.having(MONGO_URI="mongodb://127.0.0.1:1/")


def make_unwritable(path: Path) -> None:
    path.mkdir(mode=0o555)


def make_closed(path: Path) -> None:
    path.mkdir(mode=0o000)


def make_file(path: Path) -> None:
    path.write_text("")


def make_unwritable_parent(path: Path) -> None:
    path.parent.chmod(0o555)


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "external"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_unwritable, "Permission denied ({}/default.lock)"),
        (make_closed, "Permission denied ({}/default.lock)"),
        (make_unwritable_parent, "Permission denied ({})"),
        (make_file, "File exists ({})"),
    ],
    ids=["not writable", "closed", "parent not writable", "file"],
)
def test_a_state_directory_that_cannot_be_written_is_told(
    command: CommandLine, external: CommandLine, make: Callable[[Path], None], why: str, embedded: bool
) -> None:
    cli = replace(command if embedded else external, before=UNPRIVILEGED)
    state_dir = cli.state_dir
    make(state_dir)

    started, checked = cli("start"), cli("check")

    assert (started.code, started.out) == (78, "")
    assert started.line == f"STATE_DIR {state_dir} cannot be used: {why.format(state_dir)}; {REMEDY}"
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1].startswith("WRONG  state directory  STATE_DIR: ")
    state_dir.parent.chmod(0o755)
    assert not state_dir.is_dir() or left_behind(state_dir) == []


def test_a_socket_that_this_user_may_not_reach_is_told(external: CommandLine) -> None:
    make_closed(external.state_dir)

    for name in ("status", "stop", "reload"):
        asked = replace(external, before=UNPRIVILEGED)(name)
        assert (asked.code, asked.line) == (
            1,
            f"{external.state_dir}/default.sock: Permission denied; ask as its owner",
        )


def test_a_full_disk_is_told_at_the_start(command: CommandLine, external: CommandLine) -> None:
    with small_disk(command.state_dir, "64k") as disk:
        fill(disk)

        for cli in (command, external):
            started, checked = cli("start"), cli("check")

            assert (started.code, started.out) == (78, "")
            assert started.line == f"STATE_DIR {disk} cannot be used: No space left on device; {REMEDY}"
            assert (checked.code, checked.err) == (1, "")
            assert checked.out.splitlines()[-1].endswith(
                f" STATE_DIR: {disk}: No space left on device; make room, or set another"
            )
        assert left_behind(disk) == ["fill"]


def test_a_disk_that_fills_up_later_stops_nobody(connected: CommandLine, run: Run) -> None:
    with small_disk(connected.state_dir, "64k") as disk:
        daemon = run(connected, "start", "sync")
        before = daemon.healthy()
        filled = fill(disk)

        os.kill(daemon.pids()["writer"], signal.SIGKILL)
        daemon.wait_for("ledger_not_written")
        after = daemon.healthy()

        assert after["pid"] == before["pid"]
        assert [death["child"] for death in after["deaths"]] == ["writer"]
        filled.unlink()
        assert daemon.ask("stop").code == 0


def test_damaged_files_of_an_earlier_daemon_do_not_matter(external: CommandLine, run: Run) -> None:
    external.state_dir.mkdir()
    for name in ("default.lock", "default.deaths.jsonl", "default.writer.stacks"):
        (external.state_dir / name).write_bytes(GARBAGE)

    daemon = run(external, "start")

    daemon.wait_for("mongodb_unreachable")
    told = daemon.wait_for("ledger_damaged")
    assert told["message"] == f"{external.state_dir}/default.deaths.jsonl: 100 damaged lines left out"
    assert daemon.status()["deaths"] == []
    assert daemon.ask("stop").code == 0
    assert (external.state_dir / "default.lock").read_text() == f"{daemon.pid}\n"


def test_a_ledger_that_cannot_be_read_or_written_does_not_matter(external: CommandLine, run: Run) -> None:
    (external.state_dir / "default.deaths.jsonl").mkdir(parents=True)

    daemon = run(external, "start")

    told = daemon.wait_for("ledger_not_read")
    assert told["message"] == f"{external.state_dir}/default.deaths.jsonl cannot be read: Is a directory"
    daemon.wait_for("mongodb_unreachable")
    assert daemon.ask("stop").code == 0


@pytest.mark.parametrize("make", [Path.mkdir, make_file], ids=["directory", "file"])
def test_what_is_in_the_place_of_the_control_socket_is_told_and_left_alone(
    external: CommandLine, make: Callable[[Path], None]
) -> None:
    socket = external.state_dir / "default.sock"
    external.state_dir.mkdir()
    make(socket)

    refused = external("start")

    assert (refused.code, refused.line, refused.out) == (
        78,
        f"the control socket {socket} cannot be made: Address already in use; remove what is in its place, "
        "or mend the rights of its directory",
        "",
    )
    assert socket.is_dir() or socket.is_file()
    assert external("status").code == 3


def test_a_second_daemon_of_one_name_is_refused_and_the_first_one_runs_on(
    connected: CommandLine, run: Run
) -> None:
    first = run(connected, "start", "sync")
    pids = first.healthy() and first.pids()

    for arguments in (["start"], ["start", "app"], ["--instance", "default", "start", "--full"]):
        refused = connected(*arguments)

        assert (refused.code, refused.out) == (1, "")
        assert refused.line == (
            f"instance 'default' is already running (pid {first.pid}); "
            "choose another name with --instance NAME"
        )
    assert first.healthy() and first.pids() == pids
    assert run(connected, "start", "sync", instance="other").healthy()


def test_a_daemon_that_does_not_answer_is_told_after_a_while(external: CommandLine, run: Run) -> None:
    daemon = run(external, "start")
    daemon.wait_for("mongodb_unreachable")
    daemon.send(signal.SIGSTOP)

    asked = daemon.ask("status")

    assert (asked.code, asked.line) == (
        1,
        "instance 'default' gave no answer within 5 s; try again, or kill -9 it: that loses nothing",
    )
