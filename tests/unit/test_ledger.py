"""The death ledger: what it keeps, and what damage or a full disk does to it."""

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from supervisor.ledger import COMPACT_AT, KEPT, Ledger


def record(ledger: Ledger, pid: int, reason: str = "") -> None:
    ledger.record(child="writer", pid=pid, cause="SIGKILL", phase="live", reason=reason)


def pids(ledger: Ledger) -> list[int]:
    return [death["pid"] for death in ledger.deaths]


def test_deaths_survive_a_restart_of_the_daemon(tmp_path: Path) -> None:
    record(Ledger(tmp_path / "deaths.jsonl"), 1, "silent for 20.3 s")

    (death,) = Ledger(tmp_path / "deaths.jsonl").deaths

    assert death.pop("time").endswith("Z")
    assert death == {
        "child": "writer",
        "pid": 1,
        "cause": "SIGKILL",
        "phase": "live",
        "reason": "silent for 20.3 s",
    }


def test_the_last_fifty_are_kept_and_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "deaths.jsonl"
    ledger = Ledger(path)

    for pid in range(COMPACT_AT * 3):
        record(ledger, pid)

    assert pids(ledger) == list(range(COMPACT_AT * 3 - KEPT, COMPACT_AT * 3))
    assert pids(Ledger(path)) == pids(ledger)
    assert len(path.read_text().splitlines()) <= COMPACT_AT
    assert path.stat().st_mode & 0o077 == 0


WHOLE = {"time": "2030-01-01T00:00:00Z", "child": "x", "pid": 1, "cause": "x", "phase": "x", "reason": "x"}
NO_TIME, NO_TEXT = (json.dumps(WHOLE | wrong).encode() for wrong in ({"time": "now"}, {"phase": ["x"]}))


@pytest.mark.parametrize(
    "damage", [b"{", b"\xff\xfe\x00", b"[1]", b'{"pid": 1}', b"[" * 100_000, NO_TIME, NO_TEXT]
)
def test_a_damaged_line_is_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    path = tmp_path / "deaths.jsonl"
    record(Ledger(path), 1)
    with path.open("ab") as file:
        file.write(damage + b"\n")
    record(Ledger(path), 2)
    caplog.clear()

    assert pids(Ledger(path)) == [1, 2]
    assert [entry.getMessage() for entry in caplog.records] == [f"{path}: 1 damaged lines left out"]


def test_a_line_torn_by_a_power_cut_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "deaths.jsonl"
    record(Ledger(path), 1)
    path.write_text(path.read_text() + '{"time": "2026-')

    record(Ledger(path), 2)

    assert pids(Ledger(path)) == [1, 2]


def test_a_disk_that_takes_nothing_is_said_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "deaths.jsonl"
    path.symlink_to("/dev/full")
    ledger = Ledger(tmp_path / "other")
    ledger._path = path

    record(ledger, 1)
    record(ledger, 2)

    assert pids(ledger) == [1, 2]
    assert [(entry.levelno, os.strerror(errno.ENOSPC) in entry.getMessage()) for entry in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_a_directory_in_its_place_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "deaths.jsonl").mkdir()

    ledger = Ledger(tmp_path / "deaths.jsonl")
    record(ledger, 1)

    assert pids(ledger) == [1]
    assert len(caplog.records) == 2


def test_each_death_is_one_line_of_json_whatever_the_reason_holds(tmp_path: Path) -> None:
    path = tmp_path / "deaths.jsonl"

    record(Ledger(path), 1, 'two\nlines "quoted"')

    (line,) = path.read_text().splitlines()
    assert json.loads(line)["reason"] == 'two\nlines "quoted"'
