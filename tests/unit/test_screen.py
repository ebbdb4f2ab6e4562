"""The screen for people: the health first, in few lines, on any terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from supervisor.screen import render, span

DEATH = {"time": "2030-01-01T00:00:00Z", "cause": "SIGKILL", "phase": "live", "reason": "silent for 3.0 s"}
DIED = "SIGKILL 2 min 5 s ago in phase live: silent for 3.0 s"


def status(**changes: Any) -> dict[str, Any]:
    child = {"state": "running", "pid": 10, "uptime_s": 61.0, "restarts": 1, "phase": "live"}
    return {
        "clientsync": "1.0",
        "instance": "default",
        "pid": 9,
        "mongo_uri": "mongodb://here",
        "time": "2030-01-01T00:02:05.000Z",
        "health": "healthy",
        "reason": "",
        "sync": {"phase": "live", "pending": 1_234, "lag_s": 0.25, "mirrored_total": 5, "unmirrorable": 0},
        "stream": {
            "position_time": "2030-01-01T00:02:04.000Z",
            "checkpoint_age_s": 1.5,
            "oplog_window_s": 90_000.0,
            "oplog_size_s": 93_700.0,
            "lease": {"holder": "default@here", "term": 2, "ours": True, "held": True},
            "standbys": [],
        },
        "scan": None,
        "verify": None,
        "rates": {"mirrored": 2.5},
        "children": [
            {**child, "name": "listener", "last_death": None},
            {**child, "name": "writer", "last_death": DEATH},
        ],
        **changes,
    }


def shown(columns: int | None = None, **changes: Any) -> str:
    """Return what is printed on a terminal of so many columns; None: into a file."""
    file = io.StringIO()
    console = Console(file=file)
    if columns:
        console = Console(file=file, force_terminal=True, width=columns, color_system="standard")
    render(status(**changes), console)
    return file.getvalue()


@pytest.mark.parametrize(
    ("health", "reason"),
    [("healthy", ""), ("standby", ""), ("failing", "writer: backoff"), ("waiting", "no MongoDB")],
)
def test_the_first_line_is_the_health_in_a_word_and_why(health: str, reason: str) -> None:
    first = shown(health=health, reason=reason).splitlines()[0]

    assert first.startswith(f"{health}: {reason}" if reason else health)


def test_it_is_plain_text_in_a_file_with_each_thing_on_one_line() -> None:
    lines = [line.rstrip() for line in shown().splitlines()]

    assert lines == [
        "healthy",
        "daemon   default (pid 9), clientsync 1.0",
        "MongoDB  mongodb://here",
        "mirror   live: 1,234 pending, 0.2 s behind, 5 mirrored, 2.5/s",
        "stream   read up to 2030-01-01T00:02:04Z, checkpoint 1.5 s old, oplog window 1 d 1 h of 1 d 2 h",
        "lease    held by this instance (term 2), standing by: none",
        "child     state    pid  uptime     restarts  phase  last death",
        "listener  running  10   1 min 1 s  1         live   -",
        f"writer    running  10   1 min 1 s  1         live   {DIED}",
    ]


def test_it_is_coloured_on_a_terminal() -> None:
    assert "\x1b[1;32mhealthy" in shown(columns=120)
    assert "\x1b[1;31mfailing" in shown(columns=120, health="failing", reason="x")


def test_a_narrow_terminal_shows_every_child_on_one_line_and_the_deaths_below() -> None:
    lines = shown(columns=50).splitlines()

    assert all("running" in line for line in lines if line.startswith(("listener  ", "writer  ")))
    assert "writer ended by SIGKILL" in lines[-2] + lines[-1]


def test_a_running_scan_shows_its_share_and_the_time_left() -> None:
    scan = {"kind": "reindex", "scanned": 2_500, "total": 10_000, "rate": 50, "left_s": 150.0}

    assert "scan     reindex: 2,500 of 10,000 (25 %), 50/s, 2 min 30 s left\n" in shown(scan=scan)


def test_what_the_last_verify_found_is_told() -> None:
    found = {"at": "2030-01-01T00:00:05.000Z", "compared": 50, "missing": 0, "stale": 2, "orphaned": 1}
    found["repaired"] = 3

    again = " (3 copied again and right since)"
    assert f"verify   2 min ago: 50 compared, 2 stale, 1 orphaned{again}\n" in shown(verify=found)
    clean = found | {"stale": 0, "orphaned": 0, "repaired": 0}
    assert "verify   2 min ago: 50 compared, no difference\n" in shown(verify=clean)


def test_what_is_unknown_is_said_to_be() -> None:
    unknown = dict.fromkeys(("holder", "term", "ours", "held"))
    stream = dict.fromkeys(
        ("position_time", "checkpoint_age_s", "oplog_window_s", "oplog_size_s", "standbys")
    )

    sync = {**dict.fromkeys(status()["sync"]), "phase": "starting", "mirrored_total": 0}
    child = {**status()["children"][0], "state": "backoff", "pid": None, "uptime_s": None}

    text = shown(stream={**stream, "lease": unknown}, sync=sync, children=[child])

    assert "mirror   starting: pending unknown, 0 mirrored, 2.5/s\n" in text
    assert "listener  backoff  -    -       1 " in text
    assert "stream   no checkpoint known, oplog window unknown\n" in text
    assert "lease    not known\n" in text


def test_one_that_stands_by_names_who_is_active_and_who_else_would_take_over() -> None:
    lease = {"holder": "a@here", "term": 7, "ours": False, "held": True}

    text = shown(health="standby", stream={**status()["stream"], "lease": lease, "standbys": ["b@x", "c@y"]})

    assert "lease    held by a@here (term 7), standing by: b@x, c@y\n" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (8_040, "2 h 14 min"),
        (86_400 * 3 + 3_600 * 4 + 59, "3 d 4 h"),
    ],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text
