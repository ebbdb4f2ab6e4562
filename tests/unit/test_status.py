"""What a status is made of: the state of the children, their last beats, and what is known of the stream."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from procs.messages import Beat, Gauge, Outlook
from procs.meters import Counted, Timed
from supervisor import decide, state
from supervisor.child import FORK, Running
from supervisor.state import Event, Exited, Failed, Heard, Limits, Start, State, StopAsked
from supervisor.status import OUTLOOK_LASTS_S, VERIFIED, Seen, assemble
from supervisor.sums import Sums
from supervisor.topology import CHILDREN
from supervisor.tree import Mode

DOCS = Path(__file__).parents[2] / "docs"
SERVER_TIME = 1_800_000_000.0
SYNC_CHILDREN = ("listener", "scanner", "writer")


def tree(mode: Mode = Mode.SYNC) -> State:
    rows = [row for row in CHILDREN if mode in row.modes and row.name not in ("server", "web", "verifier")]
    return decide.decide(state.initial(rows, Limits()), Start(), 0.0)[0]


def after(before: State, *events: Event) -> State:
    for event in events:
        before, _ = decide.decide(before, event, 1.0)
    return before


def at_work(listener: str = "live", scanner: str = "live") -> State:
    phases = {"listener": listener, "scanner": scanner, "writer": "live"}
    return after(tree(), *(Heard(name, phase, ready=True) for name, phase in phases.items()))


def outlook(**changes: Any) -> Outlook:
    now = Outlook(
        asked_at=time.monotonic(),
        server_time=SERVER_TIME,
        holder="a@here",
        term=3,
        held=True,
        ours=True,
        standbys=("b@there",),
        checkpoint_time=None,
        oplog_first=int(SERVER_TIME) - 5_000,
        oplog_last=int(SERVER_TIME),
    )
    return replace(now, **changes)


@pytest.fixture
def status() -> Callable[..., dict[str, Any]]:
    """Return the status of `now` with these last beats."""

    def status_of(
        now: State,
        deaths: list[dict[str, Any]] | None = None,
        last: dict[str, Beat] | None = None,
        **beats: Beat,
    ) -> dict[str, Any]:
        running = {
            name: Running(name, FORK.Process(target=print), FORK.Pipe()[0], Path("unused"), beat=beat)
            for name, beat in beats.items()
        }
        sums, uri = Sums(), "mongodb://here"
        return assemble(Seen(now, running, last or {}, deaths or [], sums, "default", Mode.SYNC, uri))

    return status_of


Status = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (tree(), "starting"),
        (at_work(), "healthy"),
        (at_work("catching up"), "catching up"),
        (at_work("standby", "standby"), "standby"),
        (at_work("live", "standby"), "catching up"),
        (at_work("waiting"), "waiting"),
        (after(at_work(), StopAsked()), "stopping"),
        (after(at_work(), state.Exited("writer", "SIGKILL", -9, 1.0)), "failing"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_health_is_one_word_and_has_a_reason_unless_all_is_well(
    status: Status, now: State, word: str
) -> None:
    told = status(now)

    assert told["health"] == word
    assert bool(told["reason"]) == (word not in ("healthy", "standby"))
    assert told["healthy"] == (not told["reason"])


@pytest.mark.parametrize(
    ("child", "told", "cause", "reason"),
    [
        ("writer", [], "SIGKILL", "writer: backoff (ended by SIGKILL)"),
        ("scanner", [Failed("scanner", "no x", permanent=False)], "exit code 1", "scanner: backoff (no x)"),
    ],
)
def test_the_reason_names_the_child_that_ended_first_and_of_what(
    status: Status, child: str, told: list[Event], cause: str, reason: str
) -> None:
    end = Exited(child, cause, -9, 1.0)
    mates = (Exited(name, "SIGKILL", -9, 1.0) for name in SYNC_CHILDREN if name != child)

    assert status(after(at_work(), *told, end, *mates))["reason"] == reason


def test_a_wait_for_mongodb_is_the_reason_whatever_else_is_not_at_work_yet(status: Status) -> None:
    now = after(tree(), Heard("writer", "waiting", ready=False))

    assert (status(now)["health"], status(now)["reason"]) == ("waiting", "MongoDB cannot be reached")


def test_a_group_that_dies_again_and_again_is_degraded(status: Status) -> None:
    now = at_work()
    now.groups["sync"].degraded = True

    assert status(now)["health"] == "degraded"


def test_the_checkpoint_ages_by_the_servers_clock_even_when_the_server_does_not_answer(
    status: Status,
) -> None:
    silent_s = OUTLOOK_LASTS_S + 70
    asked_at = time.monotonic() - silent_s
    listener = Beat(
        "waiting",
        1,
        None,
        True,
        gauges={"checkpoint_time": int(SERVER_TIME) - 2, "lag_s": 0.0},
        outlook=outlook(asked_at=asked_at),
    )

    told = status(at_work("waiting"), listener=listener)

    assert told["stream"]["checkpoint_age_s"] == pytest.approx(silent_s + 2, abs=5)
    assert told["stream"]["lease"] == {"holder": None, "term": None, "ours": None, "held": None}
    assert told["stream"]["standbys"] is None
    assert told["stream"]["oplog_window_s"] is None
    assert told["sync"]["lag_s"] is None


def test_the_oplog_window_is_what_lies_between_its_oldest_entry_and_the_checkpoint(status: Status) -> None:
    gauges: dict[str, Gauge] = {"checkpoint_time": int(SERVER_TIME) - 1_000}
    listener = Beat("live", 1, None, True, gauges=gauges, outlook=outlook())

    stream = status(at_work(), listener=listener)["stream"]

    assert (stream["oplog_window_s"], stream["oplog_size_s"]) == (4_000.0, 5_000.0)


def test_the_oplog_reaches_as_far_as_the_checkpoint_when_it_was_looked_at_before(status: Status) -> None:
    gauges: dict[str, Gauge] = {"checkpoint_time": int(SERVER_TIME) + 20}
    listener = Beat("live", 1, None, True, gauges=gauges, outlook=outlook())

    stream = status(at_work(), listener=listener)["stream"]

    assert (stream["oplog_window_s"], stream["oplog_size_s"]) == (5_020.0, 5_020.0)


def test_a_window_that_is_used_up_is_0(status: Status) -> None:
    gauges: dict[str, Gauge] = {"checkpoint_time": int(SERVER_TIME) - 9_000}
    listener = Beat("live", 1, None, True, gauges=gauges, outlook=outlook())

    assert status(at_work(), listener=listener)["stream"]["oplog_window_s"] == 0.0


def test_what_may_not_be_read_is_unknown_and_the_rest_is_told(status: Status) -> None:
    listener = Beat("live", 1, None, True, outlook=outlook(oplog_first=None, oplog_last=None))

    stream = status(at_work(), listener=listener)["stream"]

    assert (stream["oplog_window_s"], stream["oplog_size_s"]) == (None, None)
    assert stream["lease"] == {"holder": "a@here", "term": 3, "ours": True, "held": True}
    assert stream["standbys"] == ["b@there"]


def test_one_that_stands_by_tells_the_age_of_the_checkpoint_that_the_other_has_stored(
    status: Status,
) -> None:
    stored = outlook(ours=False, checkpoint_time=int(SERVER_TIME) - 30)
    listener = Beat("standby", 1, None, True, gauges={"checkpoint_time": None}, outlook=stored)

    stream = status(at_work("standby"), listener=listener)["stream"]

    assert stream["checkpoint_age_s"] == pytest.approx(30, abs=5)


def test_figures_that_no_child_has_told_are_unknown_and_not_0(status: Status) -> None:
    told = status(at_work())

    assert {told["sync"][name] for name in ("pending", "unmirrorable", "lag_ms", "lag_s")} == {None}
    assert {child["uptime_s"] for child in told["children"]} == {None}


@pytest.mark.parametrize(
    "again", [{}, {"listener": Beat("starting", 1, None, False)}], ids=["", "begun again"]
)
def test_what_a_listener_knew_that_died_is_told_until_the_next_one_knows_it_but_not_its_lease(
    status: Status, again: dict[str, Beat]
) -> None:
    gauges: dict[str, Gauge] = {"checkpoint_time": int(SERVER_TIME) - 1_000, "pending": 5}
    died = Beat("live", 1, None, True, gauges=gauges, outlook=outlook())
    now = after(at_work(), Exited("listener", "SIGKILL", -9, 1.0))

    told = status(now, last={"listener": died}, **again)

    assert told["stream"]["checkpoint_age_s"] == pytest.approx(1_000, abs=5)
    assert told["stream"]["oplog_window_s"] == 4_000.0
    assert told["stream"]["lease"]["held"] is None
    assert told["sync"]["pending"] is None


def test_what_a_listener_knows_counts_more_than_what_the_one_before_it_knew(status: Status) -> None:
    before = Beat("live", 1, None, True, gauges={"checkpoint_time": int(SERVER_TIME)}, outlook=outlook())
    stored = outlook(checkpoint_time=int(SERVER_TIME) - 30)

    told = status(at_work(), last={"listener": before}, listener=Beat("live", 1, None, True, outlook=stored))

    assert told["stream"]["checkpoint_age_s"] == pytest.approx(30, abs=5)
    assert told["stream"]["lease"]["held"]


@pytest.mark.parametrize(("silent_s", "lag_s"), [(0.5, 0.2), (12, 12.2), (None, None)])
def test_the_lag_grows_on_while_a_listener_says_nothing(
    status: Status, monkeypatch: pytest.MonkeyPatch, silent_s: float | None, lag_s: float | None
) -> None:
    gauges: dict[str, Gauge] = {"lag_s": None if silent_s is None else 0.2}
    beat_at = time.monotonic() - (silent_s or 12)
    monkeypatch.setattr("tests.unit.test_status.Running", partial(Running, beat_at=beat_at))

    told = status(at_work(), listener=Beat("live", 1, None, True, gauges=gauges))

    assert told["sync"]["lag_s"] == (lag_s and pytest.approx(lag_s, abs=0.2))


def test_a_daemon_that_does_not_mirror_has_no_stream(status: Status) -> None:
    told = status(tree(Mode.APP))

    assert told["stream"] is None
    assert told["sync"]["phase"] is None


def test_a_scan_tells_how_long_it_still_takes_at_its_rate(status: Status) -> None:
    gauges: dict[str, Gauge] = {"scan": "reindex", "scanned": 2_000, "total": 10_000, "rate": 400}

    told = status(at_work(), scanner=Beat("reindex", 1, None, True, gauges=gauges))

    assert told["scan"] == {"kind": "reindex", "scanned": 2_000, "total": 10_000, "rate": 400, "left_s": 20.0}


def test_no_scan_is_told_once_it_has_ended(status: Status) -> None:
    gauges: dict[str, Gauge] = dict.fromkeys(("scan", "scanned", "total", "rate"))

    assert status(at_work(), scanner=Beat("live", 1, None, True, gauges=gauges))["scan"] is None


def test_each_child_has_its_own_last_death(status: Status) -> None:
    deaths = [
        {
            "time": f"2030-01-0{day}T00:00:00Z",
            "child": child,
            "pid": 1,
            "cause": cause,
            "phase": "",
            "reason": "",
        }
        for day, (child, cause) in enumerate(
            [("writer", "SIGKILL"), ("writer", "SIGSEGV"), ("scanner", "exit code 1")], 1
        )
    ]

    children = {child["name"]: child for child in status(at_work(), deaths)["children"]}

    assert children["listener"]["last_death"] is None
    assert children["writer"]["last_death"]["cause"] == "SIGSEGV"
    assert children["scanner"]["last_death"]["time"] == "2030-01-03T00:00:00Z"


def test_the_page_for_programs_names_every_field_and_meter(status: Status) -> None:
    listener = Beat("live", 1, None, True, outlook=outlook())
    scanner = Beat("live", 1, None, True, gauges={"scan": "reindex", "scanned": 1})
    told = status(at_work(), listener=listener, scanner=scanner)

    named = set(re.findall(r"`([^`]+)`", (DOCS / "status.md").read_text()))

    nested = {name: told[name] for name in ("sync", "stream", "scan")}
    fields = {*told, *told["children"][0], *(field for each in nested.values() for field in each)}
    lease = {f"lease.{field}" for field in told["stream"]["lease"]}
    assert (fields - {"lease"}) | lease | {*VERIFIED, *get_args(Counted), *get_args(Timed)} <= named
