"""What do programs reach that do a part of the same? Each does what it can unaided, beside the same floors.

`mongo-replication` copies once (merge mode, salted hashes). `mq-bridge` brings a change stream; what turns
its messages into a mirror is in bridge_glue.py. They get a virtual environment of their own.
"""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from pymongo.database import Database

from bench.lab import LONG_S, PROBE, Document, Lab, fill, raw_copy, soon
from bench.latency import update_visible_s
from bench.rows import Row, Sample, per_second, percent

REQUIREMENTS = ("mongo-replication==4.1.0", "mq-bridge==1.2.0")
PLACE = Path(sys.prefix) / "peers"
GLUE = Path(__file__).with_name("bridge_glue.py")
COPY, OURS = "raw copy (beside the peers)", "clientsync: --full, empty mirror"
FIELDS = ("firstName", "lastName", "email", "address.line1", "address.line2", "address.postcode")


def answer(lab: Lab) -> list[Row]:
    """Have each copy the same customers; then probe the live one."""
    if not _installed():
        print(f"peers: left out, {' and '.join(REQUIREMENTS)} cannot be installed", file=sys.stderr)
        return []
    count = lab.pick(5_000, 50_000)
    source = lab.client["peers"]
    fill(source.customers, count)
    contenders = {
        COPY: partial(raw_copy, source.customers, "raw"),
        OURS: partial(lab.full, lab.command(source)),
        "mongo-replication 4.1.0: a copy": partial(_replicate, lab),
        "mq-bridge 1.2.0 with glue: a copy": partial(_bridge, lab, source, count),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for _ in range(lab.rounds):
        for name, copy in contenders.items():
            _empty(lab, source)
            samples[name].append(lab.measure(copy))
    rows = [
        Row(name, "customers/s", per_second(count, found), None if name == COPY else COPY)
        for name, found in samples.items()
    ]
    source.customers.insert_one({**PROBE, "probe": 0})
    return [*rows, *_live(lab, source, count + 1)]


def _installed() -> bool:
    marker = PLACE / ".installed"
    if not marker.exists():
        print("peers: installing them, once", file=sys.stderr)
        python = str(PLACE / "bin" / "python")
        steps = (
            [sys.executable, "-m", "venv", str(PLACE)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS],
        )
        if any(subprocess.run(step, check=False, capture_output=True).returncode for step in steps):
            shutil.rmtree(PLACE, ignore_errors=True)
            return False
        marker.touch()
    return True


def _empty(lab: Lab, source: "Database[Document]") -> None:
    for name in ("raw", "customers_anonymised", "clientsync_state", "mqb_cursors_customers"):
        source.drop_collection(name)
    lab.client.drop_database("peers_copy")


def _replicate(lab: Lab) -> None:
    """Run mongo-replication to its end."""
    config = lab.directory / "mongo-replication.yaml"
    steps = "".join(f"        - {{type: anonymize, field: {field}, operator: hash}}\n" for field in FIELDS)
    config.write_text(
        "replication:\n"
        "  discovery: {replicate_all: false, include_patterns: ['^customers$']}\n"
        "  performance: {batch_size: 1000}\n"
        "  collections:\n"
        "    customers:\n      write_disposition: merge\n      cursor_field: createdAt\n"
        f"      transforms:\n{steps}"
    )
    server, _, options = lab.uri.partition("/?")
    environment = {
        "MONGOREP_PEER_ENABLED": "true",
        "MONGOREP_PEER_CONFIG_PATH": str(config),
        "MONGOREP_PEER_SOURCE_URI": f"{server}/peers?{options}",
        "MONGOREP_PEER_DESTINATION_URI": f"{server}/peers_copy?{options}",
    }
    subprocess.run(
        [str(PLACE / "bin" / "mongorep"), "run", "peer"],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONG_S,
        check=True,
    )
    source, copied = lab.client["peers"].customers, lab.client["peers_copy"].customers
    assert copied.count_documents({}) == source.count_documents({}), "mongo-replication left some out"


def _start_bridge(lab: Lab, source: "Database[Document]") -> "subprocess.Popen[bytes]":
    return subprocess.Popen([str(PLACE / "bin" / "python"), str(GLUE), lab.uri, source.name])


def _bridge(lab: Lab, source: "Database[Document]", count: int) -> None:
    """Run mq-bridge until everything is there."""
    with _start_bridge(lab, source) as bridge:
        try:
            _until_copied(source, count)
        finally:
            bridge.kill()


def _until_copied(source: "Database[Document]", count: int) -> None:
    mirror = source.customers_anonymised
    soon(lambda: mirror.estimated_document_count() >= count, LONG_S, 0.02, "the copy of mq-bridge")


def _live(lab: Lab, source: "Database[Document]", count: int) -> list[Row]:
    _empty(lab, source)
    with _start_bridge(lab, source) as bridge:
        try:
            _until_copied(source, count)
            for _ in range(20):
                update_visible_s(source)
            rounds = [
                [1000 * update_visible_s(source) for _ in range(lab.pick(100, 300))]
                for _ in range(lab.rounds)
            ]
        finally:
            bridge.kill()
    return [
        Row(
            f"mq-bridge 1.2.0 with glue: update visible, idle, {title}",
            "ms",
            [Sample(percent(times, share)) for times in rounds],
        )
        for title, share in (("median", 50), ("p99", 99))
    ]
