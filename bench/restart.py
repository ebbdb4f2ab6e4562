"""How long does `kill -9` of the writer keep the mirror waiting? Until the next update is in the mirror.

Each kill hits a daemon of its own: the pause before a restart grows with every one that follows soon.
"""

import os
import re
import signal
import time

from bench.lab import PROBE, Lab, fill, running
from bench.latency import update_visible_s
from bench.rows import Goal, Row, Sample
from tests.system.daemon_process import DaemonProcess

CUSTOMERS = 10_000
UNHURT = "update visible, nothing killed"


def answer(lab: Lab) -> list[Row]:
    """Kill, update, and wait; the same without the kill beside it."""
    database = lab.client["restart"]
    fill(database.customers, CUSTOMERS)
    database.customers.insert_one({**PROBE, "probe": 0})
    command = lab.command(database)
    lab.full(command)
    unhurt, killed = [], []
    for _ in range(lab.pick(3, 20)):
        with running(command, "start", "sync") as daemon:
            update_visible_s(database)
            unhurt.append(Sample(1000 * update_visible_s(database)))
            writer = _pid(daemon, "writer")
            began = time.perf_counter()
            os.kill(writer, signal.SIGKILL)
            update_visible_s(database)
            killed.append(Sample(1000 * (time.perf_counter() - began)))
            daemon.replaced("writer", writer)
    lab.verified(command)
    return [
        Row(UNHURT, "ms", unhurt),
        Row(
            "kill -9 of the writer → next update in the mirror",
            "ms",
            killed,
            UNHURT,
            Goal("median", "≤", 150),
        ),
    ]


def _pid(daemon: DaemonProcess, child: str) -> int:
    title = re.compile(rf"clientsync: {child} \(")
    return next(pid for pid, shown in daemon.processes().items() if title.match(shown))
