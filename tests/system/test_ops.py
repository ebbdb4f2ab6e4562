"""The alarms and the board, beside what a real daemon exposes."""

import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from contextlib import suppress

from prometheus_client.parser import text_string_to_metric_families
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.promql import Asked, asked
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer

SEEN_S = 90


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_every_metric_and_label_that_is_asked_for_exists(
    connected: CommandLine, source: "Collection[Customer]", run: Callable[..., DaemonProcess]
) -> None:
    source.insert_many([customer(each) for each in range(2_000)])  # long enough for a scan to be seen
    address = f"127.0.0.1:{free_port()}"
    daemon = run(connected.having(METRICS_ADDR=address, VERIFY_EVERY="1s", SYNC_BATCH_SIZE="2"), "start")
    missing: Asked = dict(asked())

    def all_seen() -> bool:
        """Scrape, and take what is there off the list: a scan, for one, is gone again soon."""
        families = text_string_to_metric_families(scrape(address))
        for sample in (sample for family in families for sample in family.samples):
            if missing.get(sample.name, set()) <= sample.labels.keys():
                missing.pop(sample.name, None)
        return not missing

    daemon.wait_for("web_serving")
    eventually(lambda: 'restarts_total{cause="SIGKILL",child="writer"} 0.0' in scrape(address))
    writer = eventually(lambda: daemon.child("writer").get("pid"))
    os.kill(writer, signal.SIGKILL)
    with suppress(AssertionError):
        eventually(all_seen, SEEN_S)

    assert missing == {}
