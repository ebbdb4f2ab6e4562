"""Daemons that a test starts, and that are gone when it ends."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from procs.config import Database
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.systemd_machine import SystemdMachine, obstacle
from tests.system.systemd_service import UNIT, UNIT_FILE, SystemdService, commands_in_head
from tests.system.twins import Customer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    """The command line with no setting but a STATE_DIR of its own: MongoDB is the embedded one."""
    return CommandLine(tmp_path)


@pytest.fixture
def connected(command: CommandLine, database: Database) -> CommandLine:
    """The command line with a database of its own on the MongoDB that all tests share."""
    return command.having(MONGO_URI=database.uri, MONGO_DB=database.name)


@pytest.fixture
def source(client: MongoClient[Customer], database: Database) -> "Collection[Customer]":
    """The customers of the database of `connected`."""
    return client[database.name][database.source]


@pytest.fixture
def mirror(client: MongoClient[Customer], database: Database) -> "Collection[Customer]":
    """Their images."""
    return client[database.name][database.mirror]


@pytest.fixture
def run() -> Iterator[Callable[..., DaemonProcess]]:
    """Start a daemon: `run(connected, "start", "sync")`; killed when the test ends."""
    started: list[DaemonProcess] = []

    def start(starter: CommandLine, *arguments: str, instance: str = "default") -> DaemonProcess:
        started.append(DaemonProcess(starter, *arguments, instance=instance))
        return started[-1]

    yield start
    for daemon in started:
        daemon.end()


class SmallTree(DaemonProcess):
    """A daemon over children that obey: see small_tree.py."""

    def tell(self, child: str, order: str) -> None:
        """Have a child do something, at once."""
        fresh = self.directory / f"{child}.new"
        fresh.write_text(order)
        fresh.rename(self.directory / f"{child}.do")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Callable[..., SmallTree]]:
    """Start a small tree: `plant(STOP_TIMEOUT_MS="500")`. Its settings stand in a `.env` file."""
    planted: list[SmallTree] = []

    def start(env: dict[str, str] | None = None, **settings: str) -> SmallTree:
        settings = {"MONGO_URI": "mongodb://127.0.0.1:1"} | settings
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cli = CommandLine(tmp_path, {"PYTHONPATH": str(ROOT)} | (env or {}))
        small_tree = replace(cli, command=(sys.executable, "-m", "tests.system.small_tree", str(tmp_path)))
        planted.append(SmallTree(small_tree, cli=cli))
        return planted[-1]

    yield start
    for tree in planted:
        tree.end()


@pytest.fixture
def tree(plant: Callable[..., SmallTree]) -> SmallTree:
    """A small tree, all at work."""
    tree = plant()
    tree.healthy()
    return tree


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    """A machine with a systemd, on which the unit was installed as its head says."""
    if reason := obstacle():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"systemd cannot be booted: {reason}")
        pytest.skip(f"systemd cannot be booted: {reason}")
    with SystemdMachine(tmp_path_factory.mktemp("systemd")) as machine:
        installed = machine.follow(commands_in_head(UNIT_FILE)[0])
        assert installed.code == 0, installed
        assert machine.run("systemctl", "is-active", UNIT).out == "active\n"
        machine.run("systemctl", "stop", UNIT)
        yield machine


@pytest.fixture
def service(machine: SystemdMachine) -> Iterator[SystemdService]:
    """The service of that machine; stopped when the test ends."""
    service = SystemdService(machine)
    yield service
    service("stop")
