"""Counters go on growing when a child dies, and are told by child only where that says something."""

from procs.messages import Beat
from procs.meters import Meters, Readings
from supervisor.sums import RATE_OVER_S, Sums


def beat(meters: Meters | None = None) -> Beat:
    return Beat("live", 1, None, True, meters=meters.read() if meters else Readings())


def counted(number: int) -> Meters:
    meters = Meters()
    meters.count("transactions", number)
    meters.count("customers_mirrored", number, "result=inserted")
    meters.observe("flush_duration_seconds", 0.02)
    return meters


def test_what_a_dead_child_has_counted_is_added_to_what_its_next_life_counts() -> None:
    sums = Sums()

    sums.keep("writer", beat(counted(5)))
    now = {"writer": beat(counted(2))}

    assert sums.counters(now)["transactions"] == {"child=writer": 7}
    assert sums.histograms(now)["flush_duration_seconds"]["child=writer"]["count"] == 2


def test_a_meter_of_the_daemon_as_a_whole_is_added_up_over_children() -> None:
    sums = Sums()

    told = sums.counters({"scanner": beat(counted(5)), "writer": beat(counted(2))})

    assert told["customers_mirrored"] == {"result=inserted": 7}
    assert told["transactions"] == {"child=scanner": 5, "child=writer": 2}


def test_buckets_count_all_that_took_up_to_their_bound() -> None:
    meters = Meters()
    for seconds in (0.0005, 0.02, 60.0):
        meters.observe("flush_duration_seconds", seconds)

    told = Sums().histograms({"writer": beat(meters)})["flush_duration_seconds"]["child=writer"]

    counts = dict(told["buckets"])
    assert (counts[0.001], counts[0.01], counts[0.025], counts[10.0], counts["+Inf"]) == (1, 1, 2, 2, 3)
    assert (told["sum"], told["count"]) == (60.0205, 3)


def test_a_restart_is_counted_by_its_cause_and_a_rare_one_with_all_rare_ones() -> None:
    sums = Sums()

    for cause in ("SIGKILL", "hang", "SIGKILL", "SIGBUS", "exit code 0", "no process (Out of memory)"):
        sums.restarted("writer", cause)

    assert sums.counters({})["child_restarts"] == {
        "child=writer,cause=SIGKILL": 2,
        "child=writer,cause=hang": 1,
        "child=writer,cause=other": 3,
    }


def test_what_may_be_counted_before_the_first_scrape_is_0_from_the_beginning() -> None:
    before = Sums(["listener", "generator"]).counters({})

    restarts = before.pop("child_restarts")
    assert set(restarts.values()) == {0}
    assert {"child=listener,cause=SIGKILL", "child=generator,cause=other"} <= restarts.keys()
    assert before == {
        "customers_generated": {"": 0},
        "fences": {"": 0},
        "history_lost": {"": 0},
        "stream_events": {"kind=insert": 0, "kind=change": 0},
    }


def test_no_restart_brings_a_series_that_was_not_there() -> None:
    sums = Sums(["writer"])
    before = sums.counters({})["child_restarts"].keys()

    for cause in ("SIGKILL", "SIGABRT", "exit code 1", "signal 40", "hang"):
        sums.restarted("writer", cause)

    assert sums.counters({})["child_restarts"].keys() == before


def test_a_rate_is_of_the_last_seconds_and_not_of_all_times() -> None:
    sums, meters = Sums(), Meters()
    meters.count("customers_generated", 1_000_000)
    for second in range(100):
        sums.note({"generator": beat(meters)}, now=float(second))
        meters.count("customers_generated", 50)

    rates = sums.rates({"generator": beat(meters)}, now=100.0)

    assert rates == {"generated": 50.0}


def test_a_rate_does_not_fall_below_0_when_a_child_is_replaced() -> None:
    sums = Sums()
    old = beat(counted(1_000))
    sums.note({"writer": old}, now=0.0)

    sums.keep("writer", old)

    assert sums.rates({"writer": beat(counted(10))}, now=RATE_OVER_S)["mirrored"] == 1.0
