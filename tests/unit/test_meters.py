"""What a child counts, and how little of it travels with each beat."""

import pickle
from typing import get_args

from procs.messages import Beat, Outlook
from procs.meters import BUCKETS, Counted, Meters, Readings, Timed, Times
from procs.outlook import NAME_BYTES, NAMES

FRAME_OVERHEAD = 4
"""The length that multiprocessing puts in front of a message."""


def test_what_is_known_from_the_start_is_told_as_0() -> None:
    meters = Meters()

    meters.expect("fences")

    assert meters.read().counters == {("fences", ""): 0}


def test_counts_of_one_meter_are_kept_apart_by_label() -> None:
    meters = Meters()

    meters.count("stream_events", 2, "kind=insert")
    meters.count("stream_events", 3, "kind=insert")
    meters.count("stream_events", 1, "kind=change")

    assert meters.read().counters == {
        ("stream_events", "kind=insert"): 5,
        ("stream_events", "kind=change"): 1,
    }


def test_a_time_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    meters = Meters()

    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, BUCKETS[-1], BUCKETS[-1] + 1):
        meters.observe("flush_duration_seconds", seconds)

    times = meters.read().times[("flush_duration_seconds", "")]
    assert times.counts == (2, 1, *[0] * (len(BUCKETS) - 3), 1, 1)
    assert times.seconds == round(BUCKETS[0] * 2.01 + BUCKETS[-1] * 2 + 1, 6)


def test_what_was_read_does_not_change_with_what_is_counted_later() -> None:
    meters = Meters()
    meters.count("fences")
    meters.observe("flush_duration_seconds", 1.0)

    before = meters.read()
    meters.count("fences")
    meters.observe("flush_duration_seconds", 1.0)

    assert before.counters == {("fences", ""): 1}
    assert sum(before.times[("flush_duration_seconds", "")].counts) == 1


def test_the_largest_beat_that_any_child_can_send_fits_into_a_frame_that_no_kill_tears() -> None:
    huge = 2**62
    labels = [f"result={result}" for result in ("inserted", "replaced", "deleted", "unchanged")]
    counters = {(name, label): huge for name in get_args(Counted) for label in labels}
    times = {(name, ""): Times((huge,) * (len(BUCKETS) + 1), 1e18 / 3) for name in get_args(Timed)}
    gauges = dict.fromkeys(("pending", "unmirrorable", "lag_ms", "scanned", "total", "rate"), huge)
    names = tuple(str(number) * NAME_BYTES for number in range(NAMES))
    outlook = Outlook(1e9 / 3, 1e9 / 3, "h" * NAME_BYTES, huge, True, True, names, huge, huge, huge)

    beat = Beat("catching up", huge, 600.0, True, {**gauges}, Readings(counters, times), outlook)

    assert len(pickle.dumps(beat)) + FRAME_OVERHEAD < 3_500
