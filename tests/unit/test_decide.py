"""The restart policy, replayed event by event with a clock of its own."""

import logging
from dataclasses import replace

import pytest

from supervisor.decide import decide, next_deadline
from supervisor.state import (
    Action,
    Announce,
    Dump,
    Event,
    Exit,
    Exited,
    Failed,
    Finished,
    Heard,
    Kill,
    Limits,
    Reloaded,
    Report,
    SendConfig,
    SendStop,
    Start,
    StartGroup,
    StopAsked,
    StopAtOnce,
    Tick,
    initial,
)
from supervisor.tree import Child, Mode


def row(name: str, group: str, stage: int, *, first: bool = False) -> Child:
    return Child(name, print, frozenset(Mode), group, stage, name, first)


SERVER = row("server", "server", 3, first=True)
GENERATOR = row("generator", "generator", 1)
SYNC = (row("listener", "sync", 1), row("scanner", "sync", 2), row("writer", "sync", 2))
LIMITS = Limits(stop_s=10, server_stop_s=2, hang_s=20, start_s=60, backoff_first_s=0.01, backoff_cap_s=30)


class Replay:
    """A supervisor without processes: what it decides, at the times the test names."""

    def __init__(
        self,
        *rows: Child,
        limits: Limits = LIMITS,
        one_shot: bool = False,
        unwanted: frozenset[str] = frozenset(),
    ) -> None:
        self.state = initial(rows, limits, one_shot=one_shot, unwanted=unwanted)

    def at(self, now: float, *events: Event) -> list[Action]:
        actions: list[Action] = []
        for event in events:
            self.state, more = decide(self.state, event, now)
            actions += more
        return actions

    def running(self, now: float = 0.0) -> "Replay":
        """All children are forked and ready."""
        self.at(now, Start())
        for _ in range(2):
            self.at(now, *(ready(name) for name, child in self.state.children.items() if child.alive))
        assert all(child.ready == child.wanted for child in self.state.children.values())
        return self


def ready(child: str, phase: str = "live") -> Heard:
    return Heard(child, phase, ready=True)


def died(child: str, cause: str = "SIGKILL", code: int | None = -9) -> Exited:
    return Exited(child, cause, code, jitter=1.0)


def left(child: str) -> Exited:
    return Exited(child, "exit code 0", 0, jitter=1.0)


def of(kind: type, actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


# Starting


def test_without_a_server_all_groups_start_at_once() -> None:
    replay = Replay(GENERATOR, *SYNC)

    actions = replay.at(0, Start())

    assert actions == [StartGroup("generator"), StartGroup("sync")]


def test_the_server_must_be_ready_before_the_others_start() -> None:
    replay = Replay(SERVER, GENERATOR, *SYNC)

    assert replay.at(0, Start()) == [StartGroup("server")]
    assert replay.at(1, Heard("server", "starting", ready=False), Tick()) == []
    assert replay.at(2, ready("server")) == [StartGroup("generator"), StartGroup("sync")]


def test_a_server_that_comes_back_does_not_restart_the_others() -> None:
    replay = Replay(SERVER, GENERATOR, *SYNC).running()

    actions = replay.at(5, died("server")) + replay.at(5.02, Tick()) + replay.at(6, ready("server"))

    assert of(StartGroup, actions) == [StartGroup("server")]
    assert of(Kill, actions) == []


def test_a_starting_child_that_beats_is_not_cut_off_however_long_it_waits() -> None:
    replay = Replay(GENERATOR)
    replay.at(0, Start())

    for now in range(0, 600, 4):
        actions = replay.at(now, Heard("generator", "waiting", ready=False), Tick())
        assert actions == []


def test_a_starting_child_that_is_silent_past_the_starting_deadline_is_dumped() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, pause_s=100))
    replay.at(0, Start())

    assert replay.at(59.9, Tick()) == []
    assert replay.at(60, Tick()) == [Dump("generator")]


# Ending unasked


def test_a_dead_child_is_replaced_after_ten_milliseconds() -> None:
    replay = Replay(GENERATOR).running()

    actions = replay.at(100, died("generator"))

    assert actions == [Report("generator", fault=True, why="", again_in=pytest.approx(0.01))]
    assert next_deadline(replay.state) == pytest.approx(100.01)
    assert replay.at(100.01, Tick()) == [StartGroup("generator")]


def test_exit_code_0_that_nobody_asked_for_is_an_unplanned_exit() -> None:
    replay = Replay(GENERATOR).running()

    replay.at(1, left("generator"))

    assert replay.state.children["generator"].restarts == 1
    assert replay.at(2, Tick()) == [StartGroup("generator")]


def test_one_of_the_sync_group_takes_the_other_two_with_it_and_all_start_together() -> None:
    replay = Replay(*SYNC).running()

    assert of(Kill, replay.at(1, died("scanner"))) == [Kill("listener"), Kill("writer")]
    assert replay.at(2, died("listener"), Tick()) == [
        Report("listener", fault=False, why="", again_in=pytest.approx(0))
    ]
    assert of(StartGroup, replay.at(2.5, died("writer"))) == [StartGroup("sync")]


def test_a_collateral_death_is_not_counted_against_that_child() -> None:
    replay = Replay(*SYNC).running()

    replay.at(1, died("scanner"), died("listener"), died("writer"))

    restarts = {name: child.restarts for name, child in replay.state.children.items()}
    assert restarts == {"listener": 0, "scanner": 1, "writer": 0}
    assert len(replay.state.groups["sync"].exits) == 1


def test_the_pause_doubles_up_to_the_cap() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, intensity=1000))
    replay.at(0, Start())
    now, pauses = 0.0, []

    for _ in range(14):
        (report,) = of(Report, replay.at(now, died("generator")))
        assert isinstance(report, Report) and report.again_in is not None
        pauses.append(report.again_in)
        now += report.again_in
        replay.at(now, Tick())

    assert pauses[:4] == pytest.approx([0.01, 0.02, 0.04, 0.08])
    assert pauses[-2:] == [30, 30]


def test_jitter_takes_up_to_half_of_the_pause() -> None:
    replay = Replay(GENERATOR).running()

    (report,) = replay.at(1, Exited("generator", "SIGKILL", -9, jitter=0.0))

    assert report == Report("generator", fault=True, why="", again_in=pytest.approx(0.005))


def test_after_a_healthy_time_the_pause_is_short_again() -> None:
    replay = Replay(GENERATOR).running()
    for now in (1, 2, 3):
        replay.at(now, died("generator"))
        replay.at(now + 0.9, Tick(), ready("generator"))

    replay.at(14, ready("generator"), Tick())
    (report,) = replay.at(15, died("generator"))

    assert report == Report("generator", fault=True, why="", again_in=pytest.approx(0.01))


def test_past_the_intensity_the_group_is_degraded_said_once_and_tried_slowly_for_ever() -> None:
    replay = Replay(GENERATOR)
    replay.at(0, Start())
    now, said, starts = 0.0, [], 0

    for _ in range(40):
        actions = replay.at(now, died("generator"))
        said += of(Announce, actions)
        now = next_deadline(replay.state)
        while not of(StartGroup, actions := replay.at(now, Tick())):
            now = next_deadline(replay.state)
        starts += 1

    assert [(each.level, each.event) for each in said if isinstance(each, Announce)] == [
        (logging.ERROR, "group_degraded")
    ]
    assert starts == 40
    assert now > 30 * 29


def test_exits_spread_over_more_than_the_window_do_not_degrade() -> None:
    replay = Replay(GENERATOR).running()

    for now in range(0, 1000, 8):
        replay.at(now, died("generator"))
        replay.at(now + 7.9, Tick(), ready("generator"))

    assert not replay.state.groups["generator"].degraded


def test_a_degraded_group_recovers_after_a_healthy_time() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, intensity=2)).running()
    replay.at(1, died("generator"))
    replay.at(2, Tick())
    replay.at(2, died("generator"))
    assert replay.state.groups["generator"].degraded
    replay.at(32, Tick(), ready("generator"))

    actions = replay.at(42, ready("generator"), Tick())

    assert [action.event for action in actions if isinstance(action, Announce)] == ["group_recovered"]
    assert not replay.state.groups["generator"].degraded


# Hanging


def test_a_silent_child_is_dumped_then_killed_then_replaced() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, pause_s=100)).running()

    assert replay.at(19.9, Tick()) == []
    assert replay.at(20, Tick()) == [Dump("generator")]
    assert replay.at(20.1, Tick()) == []
    assert replay.at(20.2, Tick()) == [Kill("generator")]
    assert replay.at(20.3, died("generator")) == [
        Report("generator", fault=True, why="silent for 20.3 s", again_in=pytest.approx(0.01))
    ]
    assert replay.at(20.4, Tick()) == [StartGroup("generator")]


def test_a_beat_may_allow_a_longer_or_shorter_silence() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, pause_s=200)).running()

    replay.at(1, Heard("generator", "live", ready=True, allowed_silence_s=90))
    assert replay.at(90, Tick()) == []

    replay.at(90, Heard("generator", "live", ready=True, allowed_silence_s=2))
    assert replay.at(92, Tick()) == [Dump("generator")]


def test_a_beat_during_the_grace_saves_the_child() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, pause_s=100)).running()
    replay.at(20, Tick())

    actions = replay.at(20.1, ready("generator")) + replay.at(20.3, Tick())

    assert actions == []


def test_beats_that_lay_unread_while_the_supervisor_was_stopped_save_the_children() -> None:
    replay = Replay(GENERATOR, *SYNC).running()

    actions = replay.at(3600, ready("writer"), Tick())

    assert actions == []


# A stop


def test_a_stop_goes_through_the_stages_and_ends_with_0() -> None:
    replay = Replay(SERVER, GENERATOR, *SYNC).running()

    assert replay.at(1, StopAsked()) == [SendStop("generator"), SendStop("listener")]
    assert of(SendStop, replay.at(2, left("generator"))) == []
    assert of(SendStop, replay.at(3, left("listener"))) == [SendStop("scanner"), SendStop("writer")]
    assert of(SendStop, replay.at(4, left("scanner"), left("writer"))) == [SendStop("server")]
    assert of(Exit, replay.at(5, left("server"))) == [Exit(0, "")]


def test_a_stopped_child_that_does_not_answer_is_killed_at_the_deadline_less_the_share_of_the_server() -> (
    None
):
    replay = Replay(SERVER, *SYNC).running()
    replay.at(0, StopAsked())

    assert next_deadline(replay.state) == 5
    assert replay.at(7.9, Tick()) == []
    assert replay.at(8, Tick()) == [Kill("listener"), Kill("scanner"), Kill("writer")]
    dead = replay.at(8.1, died("listener"), died("scanner"), died("writer"))
    assert of(SendStop, dead) == [SendStop("server")]
    assert replay.at(9.9, Tick()) == []
    assert replay.at(10, Tick()) == [Kill("server")]
    assert of(Exit, replay.at(10.1, died("server"))) == [Exit(0, "")]


def test_a_stop_during_the_start_wins() -> None:
    replay = Replay(SERVER, GENERATOR)
    replay.at(0, Start())

    assert replay.at(0.1, StopAsked()) == [SendStop("server")]
    assert replay.at(0.2, ready("server"), Tick()) == []
    assert of(Exit, replay.at(0.3, left("server"))) == [Exit(0, "")]


def test_a_stop_during_a_backoff_exits_at_once() -> None:
    replay = Replay(GENERATOR).running()
    replay.at(1, died("generator"))

    assert replay.at(1.001, StopAsked()) == [Exit(0, "")]
    assert replay.at(99, Tick()) == []


def test_a_stop_during_a_planned_restart_wins() -> None:
    replay = Replay(*SYNC).running()
    replay.at(1, Reloaded(LIMITS, restart=frozenset({"sync"})))

    actions = replay.at(1.1, StopAsked(), left("listener"), left("scanner"), left("writer"), Tick())

    assert of(StartGroup, actions) == []
    assert of(Exit, actions) == [Exit(0, "")]


def test_a_crash_during_the_stop_neither_restarts_nor_fails_it() -> None:
    replay = Replay(*SYNC).running()
    replay.at(1, StopAsked())

    actions = replay.at(2, died("writer"), left("listener"), left("scanner"), Tick())

    assert Report("writer", fault=True, why="", again_in=None) in actions
    assert of(Exit, actions) == [Exit(0, "")]


def test_the_second_interrupt_kills_everything_and_ends_with_1() -> None:
    replay = Replay(SERVER, GENERATOR).running()
    replay.at(1, StopAsked())

    assert replay.at(1.1, StopAtOnce()) == [Kill("server"), Kill("generator")]
    assert of(Exit, replay.at(1.2, died("server"), died("generator"))) == [Exit(1, "")]


# Permanent errors and finished work


def test_a_permanent_error_stops_all_and_ends_with_78_and_its_line() -> None:
    replay = Replay(GENERATOR, *SYNC).running()

    replay.at(1, Failed("writer", "no right to write", permanent=True))
    actions = replay.at(1.1, died("writer", "exit code 78", 78), left("generator"), left("listener"))
    actions += replay.at(1.2, left("scanner"))

    assert of(Exit, actions) == [Exit(78, "writer: no right to write")]
    assert of(StartGroup, actions) == []
    assert Report("writer", fault=True, why="no right to write", again_in=None) in actions


def test_exit_code_78_is_permanent_even_if_the_reason_got_lost() -> None:
    replay = Replay(GENERATOR).running()

    actions = replay.at(1, died("generator", "exit code 78", 78))

    assert of(Exit, actions) == [Exit(78, "generator: ended by exit code 78")]


def test_a_passing_error_is_restarted_with_its_reason_in_the_report() -> None:
    replay = Replay(GENERATOR).running()

    actions = replay.at(1, Failed("generator", "ValueError at x.py:3", permanent=False))
    actions += replay.at(1, died("generator", "exit code 1", 1))

    assert actions == [
        Report("generator", fault=True, why="ValueError at x.py:3", again_in=pytest.approx(0.01))
    ]


def test_a_finished_reindex_stops_the_server_and_ends_with_0() -> None:
    replay = Replay(SERVER, row("reindexer", "reindexer", 1), one_shot=True).running()

    replay.at(1, Finished("reindexer"))
    actions = replay.at(1.1, left("reindexer")) + replay.at(1.5, left("server"))

    assert of(SendStop, actions) == [SendStop("server")]
    assert of(Exit, actions) == [Exit(0, "")]


def test_a_reindex_is_restarted_but_gives_up_past_the_intensity() -> None:
    replay = Replay(row("reindexer", "reindexer", 1), limits=replace(LIMITS, intensity=3), one_shot=True)
    replay.at(0, Start())
    actions: list[Action] = []

    for now in (1, 2, 3):
        actions += replay.at(now, Tick(), Failed("reindexer", "boom", permanent=False))
        actions += replay.at(now, died("reindexer", "exit code 1", 1))

    assert of(StartGroup, actions) == [StartGroup("reindexer")] * 2
    line = "reindexer: 3 unplanned exits within 60 s, giving up; the last of reindexer by exit code 1: boom"
    assert of(Exit, actions) == [Exit(1, line)]


# Reload


def test_live_settings_are_sent_and_nothing_restarts() -> None:
    replay = Replay(GENERATOR, *SYNC).running()

    actions = replay.at(1, Reloaded(LIMITS, live=frozenset({"generator", "writer"})))

    assert actions == [SendConfig("generator"), SendConfig("writer")]


def test_a_group_that_must_restart_is_drained_in_stages_and_nobody_else_is_touched() -> None:
    replay = Replay(GENERATOR, *SYNC).running()

    assert replay.at(1, Reloaded(LIMITS, restart=frozenset({"sync"}))) == [SendStop("listener")]
    assert of(SendStop, replay.at(1.1, left("listener"))) == [SendStop("scanner"), SendStop("writer")]
    actions = replay.at(1.2, left("scanner"), left("writer"))
    assert of(StartGroup, actions) == [StartGroup("sync")]
    assert replay.state.groups["sync"].exits == ()
    assert all(child.restarts == 0 for child in replay.state.children.values())


def test_a_planned_restart_of_a_child_that_does_not_answer_is_cut_off() -> None:
    replay = Replay(GENERATOR).running()
    replay.at(0, Reloaded(LIMITS, restart=frozenset({"generator"})))

    replay.at(5, Tick())
    assert replay.at(10, Tick()) == [Kill("generator")]
    assert of(StartGroup, replay.at(10, died("generator"))) == [StartGroup("generator")]


def test_a_reload_ends_the_pause_of_a_degraded_group() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, intensity=1)).running()
    replay.at(1, died("generator"))
    assert replay.state.groups["generator"].degraded

    actions = replay.at(2, Reloaded(LIMITS, restart=frozenset({"generator"})))

    assert actions == [StartGroup("generator")]
    assert not replay.state.groups["generator"].degraded


def test_a_server_without_work_stops_once_the_others_have_left_it() -> None:
    replay = Replay(SERVER, GENERATOR, *SYNC).running()

    went_over = Reloaded(LIMITS, restart=frozenset({"generator", "sync"}), unwanted=frozenset({"server"}))
    assert replay.at(1, went_over) == [SendStop("generator"), SendStop("listener")]
    actions = replay.at(1.1, left("generator"), left("listener"), left("scanner"), left("writer"))
    assert [action for action in actions if not isinstance(action, Report)] == [
        StartGroup("generator"),
        SendStop("scanner"),
        SendStop("writer"),
        SendStop("server"),
        StartGroup("sync"),
    ]
    assert of(StartGroup, replay.at(1.2, left("server"), Tick())) == []


def test_a_server_that_comes_is_ready_before_the_others_go_over_to_it() -> None:
    replay = Replay(SERVER, GENERATOR, unwanted=frozenset({"server"})).running()

    came = Reloaded(LIMITS, restart=frozenset({"server", "generator"}))
    assert replay.at(1, came) == [SendStop("generator"), StartGroup("server")]
    assert of(StartGroup, replay.at(1.1, left("generator"), Tick())) == []
    assert replay.at(2, ready("server")) == [StartGroup("generator")]


def test_deciding_leaves_the_given_state_untouched() -> None:
    replay = Replay(GENERATOR, *SYNC).running()
    before = replay.state.copy()

    decide(replay.state, died("writer"), 5)
    decide(replay.state, StopAsked(), 5)

    assert replay.state == before
