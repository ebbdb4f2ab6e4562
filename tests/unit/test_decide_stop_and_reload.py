"""The restart policy, replayed likewise: stops, errors that end it, finished work, reloads."""

from dataclasses import replace

import pytest

from supervisor.decide import next_deadline
from supervisor.state import (
    Action,
    Dump,
    Exit,
    Failed,
    Finished,
    Kill,
    Reloaded,
    Report,
    SendConfig,
    SendStop,
    Start,
    StartGroup,
    StopAsked,
    StopAtOnce,
    Tick,
)
from tests.unit.replay import GENERATOR, LIMITS, SERVER, SYNC, Replay, died, left, of, ready, row

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


def test_who_was_free_to_say_nothing_for_longer_does_not_hang_the_moment_a_reload_shortens_that() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, hang_s=20)).running()

    assert replay.at(4, Reloaded(replace(LIMITS, hang_s=2))) == []
    assert replay.at(5.9, Tick()) == []
    assert replay.at(6, Tick()) == [Dump("generator")]


def test_a_reload_that_does_not_shorten_the_silence_allowed_gives_a_hung_child_no_more_time() -> None:
    replay = Replay(GENERATOR, limits=replace(LIMITS, hang_s=4)).running()

    replay.at(3, Reloaded(replace(LIMITS, hang_s=4)))

    assert replay.at(4, Tick()) == [Dump("generator")]


def test_a_reload_during_a_stop_does_not_shorten_the_silence_allowed_to_those_who_drain() -> None:
    replay = Replay(*SYNC, limits=replace(LIMITS, hang_s=20)).running()
    replay.at(1, StopAsked())

    replay.at(1.5, Reloaded(replace(LIMITS, hang_s=2)))

    assert replay.at(4, Tick()) == []


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
