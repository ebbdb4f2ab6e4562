"""The restart policy, replayed event by event with a clock of its own: starts, deaths and hangs."""

import logging
from dataclasses import replace

import pytest

from supervisor.decide import decide, next_deadline
from supervisor.state import Announce, Dump, Exited, Heard, Kill, Report, Start, StartGroup, StopAsked, Tick
from tests.unit.replay import GENERATOR, LIMITS, SERVER, SYNC, Replay, died, left, of, ready

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


def test_deciding_leaves_the_given_state_untouched() -> None:
    replay = Replay(GENERATOR, *SYNC).running()
    before = replay.state.copy()

    decide(replay.state, died("writer"), 5)
    decide(replay.state, StopAsked(), 5)

    assert replay.state == before
