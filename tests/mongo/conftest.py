"""A place for an embedded mongod."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongod_process import mongods_of


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for an embedded mongod; what a failing test leaves running there is killed."""
    directory = tmp_path / "mongodb"
    yield directory
    for pid in mongods_of(directory):
        os.kill(pid, signal.SIGKILL)
