"""What a process, a server and a directory hold at this moment."""

import contextlib
import re
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from procs import state
from tests.system.daemon_process import DaemonProcess

PRIVATE = re.compile(rb"^Private_Dirty:\s+(\d+) kB$", re.M)
TITLE = re.compile(r"clientsync: (\S+) \(")


def of_process(pid: int) -> dict[str, float]:
    """Return memory that is this process's alone, open files and threads; empty when it is gone."""
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        found = PRIVATE.search((process / "smaps_rollup").read_bytes())
        return {
            "private_kb": float(found[1]) if found else 0.0,
            "fds": float(len(list((process / "fd").iterdir()))),
            "threads": float(len(list((process / "task").iterdir()))),
        }
    return {}


def of_daemon(daemon: DaemonProcess) -> dict[str, float]:
    """Return the gauges of each of its processes, by what its title says it is."""
    values: dict[str, float] = {}
    for pid, title in daemon.processes().items():
        if found := TITLE.match(title):
            values |= {f"{daemon.instance} {found[1]} {gauge}": v for gauge, v in of_process(pid).items()}
    return values


def of_server(client: MongoClient[Any], database: str) -> dict[str, float]:
    """Return what clients hold on the server, and the size of our state."""
    status = client.admin.command("serverStatus")
    size = client[database].command("collStats", state.NAME)
    found = {
        "connections": status["connections"]["current"],
        "sessions": status["logicalSessionRecordCache"]["activeSessionsCount"],
        "transactions": status["transactions"]["currentOpen"],
        "cursors": status["metrics"]["cursor"]["open"]["total"],
        "session_records": client["config"]["transactions"].estimated_document_count(),
        "state_documents": size["count"],
        "state_bytes": size["size"],
    }
    return {f"server {name}": float(value) for name, value in found.items()}


def of_directory(directory: Path) -> float:
    """Return the bytes of all files below."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return float(total)
