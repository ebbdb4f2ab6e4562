"""Does a customer cost the same in a collection of any size, and what does its own size cost?

`--full` into an empty and onto an equal mirror beside a raw copy, its start-up left out of both; peak memory
(PSS) of all its processes. SIZES=full adds five million customers.
"""

import contextlib
import os
import subprocess
import time
from dataclasses import replace

from bench.idle import pss_mb
from bench.lab import LONG_S, Lab, cpu_of, fill, own_cpu, raw_copy
from bench.rows import Row, Sample
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess

PADDING = {"0.3 kB": 0, "2 kB": 1_700, "50 kB": 49_700}
WATCH_S = 0.05


def answer(lab: Lab) -> list[Row]:
    """Measure each size of collection, then each size of customer; microseconds a customer."""
    lab.client["nothing"].create_collection("customers")
    starts: list[Sample] = []
    rows: list[Row] = []
    counts = lab.pick([10_000, 30_000], [10_000, 100_000, 1_000_000])
    if os.environ.get("SIZES") == "full":
        counts = [*counts, 5_000_000]
    for count in counts:
        rows += _measure(lab, starts, count, "0.3 kB", 1 if lab.quick or count > 100_000 else 3)
    for size, count in lab.pick({"2 kB": 5_000, "50 kB": 1_000}, {"2 kB": 100_000, "50 kB": 10_000}).items():
        rows += _measure(lab, starts, count, size, 1 if lab.quick else 3)
    return [Row("--full with nothing to do: its start-up", "s", starts), *rows]


def _measure(lab: Lab, starts: list[Sample], count: int, size: str, rounds: int) -> list[Row]:
    database = lab.client["sizes"]
    fill(database.customers, count, PADDING[size])
    command, nothing = lab.command(database), lab.command(lab.client["nothing"])
    begun: list[Sample] = []
    copies: list[Sample] = []
    empties: list[Sample] = []
    equals: list[Sample] = []
    peaks: list[Sample] = []
    for _ in range(rounds):
        database.drop_collection("raw")
        copies.append(lab.measure(lambda: raw_copy(database.customers, "raw")))
        database.drop_collection("customers_anonymised")
        begun.append(_full(lab, nothing)[0])
        for found in (empties, equals):
            sample, peak_mb = _full(lab, command)
            found.append(sample)
            peaks.append(Sample(peak_mb))
    lab.client.drop_database(database.name)
    starts += begun
    about = f"{count:,} customers of {size}"
    copy = f"raw copy, {about}"
    return [
        Row(copy, "µs each", _each(count, copies)),
        Row(f"--full, empty mirror, {about}", "µs each", _each(count, empties, begun), copy),
        Row(f"--full, equal mirror, {about}", "µs each", _each(count, equals, begun), copy),
        Row(f"--full, peak memory of all its processes, {about}", "MB", peaks),
    ]


def _full(lab: Lab, command: CommandLine) -> tuple[Sample, float]:
    """Run `--full`; return its seconds and the most memory (MB) that all its processes had."""
    lab.rest()
    cpu, mongod, began = own_cpu(), cpu_of(lab.mongod_pid), time.perf_counter()
    full = DaemonProcess(command, "start", "--full", instance="full")
    most_mb = 0.0
    try:
        while full.process.poll() is None:
            assert time.perf_counter() - began < LONG_S * 2, "--full takes too long"
            most_mb = max(most_mb, sum(pss_mb(pid) for pid in full.processes()))
            with contextlib.suppress(subprocess.TimeoutExpired):
                full.process.wait(WATCH_S)
        assert full.process.returncode == 0, full.told()
    finally:
        full.end()
    return Sample(time.perf_counter() - began, own_cpu() - cpu, cpu_of(lab.mongod_pid) - mongod), most_mb


def _each(count: int, samples: list[Sample], begun: "list[Sample] | None" = None) -> list[Sample]:
    """Return the microseconds for each customer, the start-up of the same round left out."""
    starts = [each.value for each in begun] if begun else [0.0] * len(samples)
    each_s = [(sample.value - start) / count for sample, start in zip(samples, starts, strict=True)]
    return [replace(sample, value=1_000_000 * s) for sample, s in zip(samples, each_s, strict=True)]
