"""The child that shows the status to others is told it."""

import json
import os
import signal
from typing import Any

from tests.eventually import eventually
from tests.system.conftest import SmallTree


def told(tree: SmallTree) -> Any:
    """Return what that child was told last."""
    tree.tell("web", "tell")
    path = tree.directory / "told.json"
    eventually(lambda: path.exists() and path.read_text())
    snapshot = json.loads(path.read_text())
    path.unlink()
    return snapshot or {}


def test_the_child_named_web_is_told_the_whole_status(tree: SmallTree) -> None:
    status = tree.status()

    snapshot = eventually(lambda: told(tree))

    assert snapshot.keys() == status.keys()
    assert {child["name"]: child["pid"] for child in snapshot["children"]} == tree.pids()


def test_it_is_told_anew_when_something_has_changed(tree: SmallTree) -> None:
    pid = tree.pids()["solo"]

    os.kill(pid, signal.SIGKILL)

    tree.replaced("solo", pid)
    eventually(lambda: [each["cause"] for each in told(tree)["deaths"]] == ["SIGKILL"])
