"""What Prometheus is told of a status; what is unknown is absent."""

import math
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from procs.metrics import StatusCollector, Told
from tests.unit.status import status

Samples = dict[str, float]


def registry(told: dict[str, Any] | None, *, ready: bool = True) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(lambda: Told(told, ready)))
    return registry


def scrape(told: dict[str, Any] | None, *, ready: bool = True) -> Samples:
    """Return each sample as `name{label="value"}` without our prefix."""
    text = generate_latest(registry(told, ready=ready)).decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("clientsync_"): float(figure) for name, _, figure in lines}


def test_a_whole_status_becomes_these_samples() -> None:
    samples = scrape(status())

    assert samples == {
        'build_info{daemon="first",mode="all",version="1.2.3"}': 1,
        "healthy": 1,
        "ready": 1,
        'child_up{child="writer"}': 1,
        'child_up{child="web"}': 0,
        'child_uptime_seconds{child="writer"}': 12.5,
        'child_restarts_total{cause="SIGKILL",child="writer"}': 1,
        'child_restarts_total{cause="exit code 1",child="writer"}': 1,
        "lag_seconds": 0.25,
        "pending_customers": 3,
        "unmirrorable_customers": 1,
        "checkpoint_age_seconds": 1.5,
        "oplog_window_seconds": 7200,
        "lease_held": 1,
        "active_instances": 1,
        "standby_instances": 2,
        'scan_progress_ratio{scan="reindex"}': 0.25,
        'scan_left_seconds{scan="reindex"}': 15,
        'verify_differences{kind="missing"}': 1,
        'verify_differences{kind="stale"}': 2,
        'verify_differences{kind="orphaned"}': 0,
        "verify_last_timestamp_seconds": 1767312000,
        "verify_duration_seconds": 2.5,
        'customers_mirrored_total{result="inserted"}': 80,
        'customers_mirrored_total{result="replaced"}': 19,
        'stream_events_total{kind="insert"}': 81,
        'stream_events_total{kind="change"}': 20,
        'transactions_total{child="writer"}': 12,
        'transaction_conflicts_total{child="writer"}': 2,
        'mongodb_retries_total{child="listener"}': 3,
        "fences_total": 1,
        "history_lost_total": 0,
        "customers_generated_total": 500,
        **histogram("transaction_duration_seconds", "writer"),
        **histogram("flush_duration_seconds", "scanner"),
    }


def histogram(name: str, child: str) -> Samples:
    counts = {"0.005": 1, "0.1": 3, "+Inf": 4}
    buckets = {f'{name}_bucket{{child="{child}",le="{le}"}}': count for le, count in counts.items()}
    return {**buckets, f'{name}_count{{child="{child}"}}': 4, f'{name}_sum{{child="{child}"}}': 0.4}


UNKNOWN = [
    (
        {"sync": {"phase": "live", "lag_s": None}},
        ["lag_seconds", "pending_customers", "unmirrorable_customers"],
    ),
    ({"sync": None}, ["lag_seconds", "pending_customers", "unmirrorable_customers"]),
    ({"stream": None}, ["checkpoint_age", "oplog_window", "lease_held", "active_inst", "standby_inst"]),
    ({"stream": {"lease": None, "standbys": None, "oplog_window_s": None}}, ["lease_held", "oplog_window"]),
    ({"stream": {"lease": {"holder": None, "ours": None, "held": None}}}, ["lease_held", "active_inst"]),
    ({"scan": None}, ["scan_"]),
    ({"scan": {"kind": "full", "scanned": 5, "total": None, "left_s": None}}, ["scan_"]),
    ({"scan": {"kind": "full", "scanned": 0, "total": 0}}, ["scan_"]),
    ({"verify": None}, ["verify_"]),
    (
        {"counters": None, "histograms": None},
        ["transaction", "flush", "customers_mirrored", "child_restarts"],
    ),
    ({"counters": {"fences": {}}}, ["fences"]),
    ({"children": None}, ["child_up"]),
]


@pytest.mark.parametrize(("changed", "absent"), UNKNOWN)
def test_what_is_unknown_is_absent_and_all_else_stays(changed: dict[str, Any], absent: list[str]) -> None:
    samples = scrape(status(**changed))

    for name in absent:
        assert not [sample for sample in samples if sample.startswith(name)]
    assert samples["healthy"] == 1
    assert not [figure for figure in samples.values() if math.isnan(figure)]


def test_every_key_may_be_missing() -> None:
    samples = scrape({})

    assert samples == {"healthy": 0, "ready": 1, 'build_info{daemon="",mode="",version=""}': 1}


def test_of_an_outdated_status_no_figure_is_told() -> None:
    samples = scrape(None, ready=False)

    assert samples == {"healthy": 0, "ready": 0}


def test_a_scan_that_finds_more_than_was_estimated_is_not_more_than_done() -> None:
    scan = {"kind": "full", "scanned": 150, "total": 100, "left_s": 0.0}

    samples = scrape(status(scan=scan))

    assert samples['scan_progress_ratio{scan="full"}'] == 1


def test_a_lease_of_another_instance_and_one_that_nobody_holds_are_told_apart() -> None:
    others = {"holder": "second@there", "term": 5, "ours": False, "held": True}
    nobodys = {"holder": "first@here", "term": 5, "ours": True, "held": False}

    samples = [scrape(status(stream={"lease": lease})) for lease in (others, nobodys)]

    told = [(each["lease_held"], each["active_instances"]) for each in samples]
    assert told == [(0, 1), (0, 0)]


def test_no_label_is_one_that_prometheus_gives_to_each_target() -> None:
    labels = {
        name
        for family in parse(generate_latest(registry(status())).decode())
        for sample in family.samples
        for name in sample.labels
    }

    assert {"child", "version"} <= labels
    assert labels & {"instance", "job"} == set()


def test_every_family_has_a_help_text_and_both_formats_can_be_read() -> None:
    plain = generate_latest(registry(status())).decode()
    openmetrics = generate_openmetrics(registry(status())).decode()

    families = list(parse(plain))
    assert len(families) > 25
    assert all(family.documentation.endswith(".") for family in families)
    assert sum(len(family.samples) for family in parse_openmetrics(openmetrics)) == len(scrape(status()))


def test_promtool_finds_nothing_to_say_against_names_and_units() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")

    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=generate_latest(registry(status())),
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
