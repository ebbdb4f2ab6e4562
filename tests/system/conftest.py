"""Daemons that a test starts, and that are gone when it ends."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon_process import DaemonProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start a daemon: `run("start", "sync", env={...})`."""
    started: list[DaemonProcess] = []

    def start(*arguments: str, **options: Any) -> DaemonProcess:
        started.append(DaemonProcess(options.pop("directory", tmp_path), *arguments, **options))
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
        command = [sys.executable, "-m", "tests.system.small_tree", str(tmp_path)]
        planted.append(SmallTree(tmp_path, command=command, env={"PYTHONPATH": str(ROOT)} | (env or {})))
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
