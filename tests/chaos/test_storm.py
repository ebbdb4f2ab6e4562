"""A short storm; `make chaos` runs long ones."""

from pathlib import Path

import pytest

from procs.config import Database
from tests.chaos.storm import Storm
from tests.system.command_line import CommandLine


@pytest.mark.parametrize("seed", [1])
def test_r1_after_a_storm_the_mirror_is_right_and_stays_right(
    database: Database, tmp_path: Path, seed: int
) -> None:
    cli = CommandLine(tmp_path, {"MONGO_URI": database.uri, "MONGO_DB": database.name})

    report = Storm(cli, database, seed).rage(seconds=10)

    assert report.kills.total() > 5
    assert report.written > 500
