"""What Prometheus is told: the status of a daemon as metric families.

What is unknown is absent. Labels have few values: children, causes of death, kinds; never a customer's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

PREFIX = "clientsync_"

Status = Mapping[str, Any]
Sample = tuple[tuple[str, ...], Any]
"""The values of the labels, and the figure; None or missing where it is unknown."""


class Told(NamedTuple):
    """What a scrape tells: a status that is not outdated (or None), and whether this daemon is ready."""

    status: Status | None
    ready: bool


class Meter(NamedTuple):
    """A counter or histogram of the children: its name in the status, and its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


class Gauge(NamedTuple):
    """A figure of the status, or one for each value of a label."""

    name: str
    text: str
    samples: Callable[[Status], Iterable[Sample]]
    labels: tuple[str, ...] = ()


# fmt: off
COUNTERS = (
    Meter("child_restarts", "Unplanned ends of a child process, by its cause.", ("child", "cause")),
    Meter("customers_mirrored", "Customers compared with their image, by what came of it.", ("result",)),
    Meter("stream_events", "Changes read from the change stream.", ("kind",)),
    Meter("transactions", "Transactions that were committed.", ("child",)),
    Meter("transaction_conflicts", "Transactions begun again because another one came first.", ("child",)),
    Meter("mongodb_retries", "Calls repeated because MongoDB could not be reached or refused.", ("child",)),
    Meter("fences", "Times that all open transactions were ended, for a scan or one that held others up."),
    Meter("history_lost", "Times that the history after the checkpoint was lost."),
    Meter("customers_generated", "Fake customers inserted."),
)
HISTOGRAMS = (
    Meter("transaction_duration_seconds", "Time from the begin to the commit of a transaction.", ("child",)),
    Meter("flush_duration_seconds", "Time to mirror what was pending.", ("child",)),
)
# fmt: on


def _figure(*path: str) -> Callable[[Status], Iterable[Sample]]:
    """Return a function that takes one figure without labels from a status."""
    return lambda status: [((), _at(status, *path))]


def _of_children(figure: Callable[[Status], Any]) -> Callable[[Status], Iterable[Sample]]:
    return lambda status: [((child["name"],), figure(child)) for child in status.get("children") or ()]


def _of_kinds(name: str, *kinds: str) -> Callable[[Status], Iterable[Sample]]:
    return lambda status: [((kind,), _at(status, name, kind)) for kind in kinds]


def _lease_held(status: Status) -> Iterable[Sample]:
    held, ours = _at(status, "stream", "lease", "held"), _at(status, "stream", "lease", "ours")
    return [((), None if held is None else bool(held and ours))]


def _active_instances(status: Status) -> Iterable[Sample]:
    return [((), _at(status, "stream", "lease", "held"))]


def _standby_instances(status: Status) -> Iterable[Sample]:
    standbys = _at(status, "stream", "standbys")
    return [((), None if standbys is None else len(standbys))]


def _scan_progress(status: Status) -> Iterable[Sample]:
    scan = status.get("scan") or {}
    scanned, total = scan.get("scanned"), scan.get("total")
    # A total is an estimate: more may turn up.
    return [((scan["kind"],), min(1.0, scanned / total))] if total and scanned is not None else []


def _scan_left(status: Status) -> Iterable[Sample]:
    scan = status.get("scan")
    return [((scan["kind"],), scan.get("left_s"))] if scan else []


def _verified_at(status: Status) -> Iterable[Sample]:
    at = _at(status, "verify", "at")
    return [((), at and datetime.fromisoformat(at).timestamp())]


# fmt: off
GAUGES = (
    Gauge("child_up", "Whether a child process is at work.",
          _of_children(lambda child: child.get("state") == "running"), ("child",)),
    Gauge("child_uptime_seconds", "Age of the present process of a child.",
          _of_children(lambda child: child.get("uptime_s")), ("child",)),
    Gauge("lag_seconds", "Age of the oldest change that is not mirrored yet; 0: none.",
          _figure("sync", "lag_s")),
    Gauge("pending_customers", "Customers that changed and are not mirrored yet.",
          _figure("sync", "pending")),
    Gauge("unmirrorable_customers", "Customers that the mirror refuses.", _figure("sync", "unmirrorable")),
    Gauge("checkpoint_age_seconds", "Age of the stored position in the change stream.",
          _figure("stream", "checkpoint_age_s")),
    Gauge("oplog_window_seconds", "Time until the server forgets what follows the stored position.",
          _figure("stream", "oplog_window_s")),
    Gauge("lease_held", "Whether this instance is the one that follows the change stream.", _lease_held),
    Gauge("active_instances", "Instances that follow the change stream: 1, or 0 if nobody does.",
          _active_instances),
    Gauge("standby_instances", "Instances that would take over.", _standby_instances),
    Gauge("scan_progress_ratio", "Share of a running scan that is done.", _scan_progress, ("scan",)),
    Gauge("scan_left_seconds", "Time that a running scan still takes.", _scan_left, ("scan",)),
    Gauge("verify_differences", "Customers that the last scheduled verify found wrong.",
          _of_kinds("verify", "missing", "stale", "orphaned"), ("kind",)),
    Gauge("verify_last_timestamp_seconds", "When the last scheduled verify ended.", _verified_at),
    Gauge("verify_duration_seconds", "How long the last scheduled verify took.",
          _figure("verify", "seconds")),
)
# fmt: on


class StatusCollector(Collector):
    """Turns what `told` returns into metric families, at each scrape anew."""

    def __init__(self, told: Callable[[], Told]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a sample; of an outdated status only that nothing is well."""
        status, ready = self._told()
        current = status or {}
        yield _gauge("healthy", "Whether all is as it should be.", [((), bool(current.get("healthy")))])
        yield _gauge("ready", "Whether /readyz answers 200.", [((), ready)])
        if status is None:
            return
        # Not `instance`: that is what Prometheus calls the target.
        about = {"version": "clientsync", "daemon": "instance", "mode": "mode"}
        labels = {label: str(status.get(key, "")) for label, key in about.items()}
        yield InfoMetricFamily(f"{PREFIX}build", "Which clientsync this is.", value=labels)
        for each in GAUGES:
            family = _gauge(each.name, each.text, each.samples(status), each.labels)
            if family.samples:
                yield family
        yield from _counters(status.get("counters") or {})
        yield from _histograms(status.get("histograms") or {})


def _gauge(name: str, text: str, samples: Iterable[Sample], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, float(figure))
    return family


def _counters(counted: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    for meter in COUNTERS:
        if sums := counted.get(meter.name):
            family = CounterMetricFamily(PREFIX + meter.name, meter.text, labels=meter.labels)
            for told, figure in sums.items():
                family.add_metric(_values(meter, told), figure)
            yield family


def _histograms(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Metric]:
    for meter in HISTOGRAMS:
        if by_labels := measured.get(meter.name):
            family = HistogramMetricFamily(PREFIX + meter.name, meter.text, labels=meter.labels)
            for told, figures in by_labels.items():
                buckets = [(str(bound), float(count)) for bound, count in figures["buckets"]]
                family.add_metric(_values(meter, told), buckets, figures["sum"])
            yield family


def _values(meter: Meter, told: str) -> list[str]:
    """Return the values of `child=writer,cause=SIGKILL` in the order of the labels of `meter`."""
    pairs = dict(each.split("=", 1) for each in told.split(",")) if told else {}
    return [pairs.get(label, "") for label in meter.labels]


def _at(status: Status, *path: str) -> Any:
    """Return what is at the end of `path`; None where anything on it is unknown."""
    found: Any = status
    for key in path:
        found = found.get(key) if found is not None else None
    return found
