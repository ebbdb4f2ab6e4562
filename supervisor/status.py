"""What `status` tells, as a dict for programs and as a table for people."""

import os
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from procs.messages import Beat
from supervisor import __version__, health
from supervisor.child import Running
from supervisor.ledger import Death
from supervisor.state import ChildState, State
from supervisor.tree import Mode

FORMAT_VERSION = 1
DEATHS_SHOWN = 5


def assemble(
    state: State,
    running: Mapping[str, Running],
    deaths: list[Death],
    *,
    instance: str,
    mode: Mode,
    mongo_uri: str,
    mirrored_before: int = 0,
) -> dict[str, Any]:
    """Return the whole status.

    `mongo_uri` is already without its password; `mirrored_before` is what children that are gone mirrored.
    """
    sync = _sync(state, running, mirrored_before)
    trouble = health.trouble(state, sync["phase"])
    return {
        "version": FORMAT_VERSION,
        "clientsync": __version__,
        "instance": instance,
        "mode": mode.value,
        "pid": os.getpid(),
        "mongo_uri": mongo_uri,
        "healthy": not trouble,
        "reason": trouble,
        "children": [_child(state, child, running.get(child.name)) for child in health.wanted(state)],
        "sync": sync,
        "deaths": deaths[-DEATHS_SHOWN:],
    }


def _child(state: State, child: ChildState, process: Running | None) -> dict[str, Any]:
    beat = process.beat if process else None
    return {
        "name": child.name,
        "pid": process.pid if process else None,
        "state": health.condition(state, child),
        "restarts": child.restarts,
        "uptime_s": round(time.monotonic() - process.born_at, 1) if process else 0.0,
        "phase": beat.phase if beat else child.phase,
        "work": beat.work if beat else 0,
        "gauges": beat.gauges if beat else {},
    }


def _sync(state: State, running: Mapping[str, Running], mirrored_before: int) -> dict[str, Any]:
    """Return the figures of the sync as a whole; the phase is None where this daemon does not mirror."""
    beats = {name: running[name].beat for name in health.SYNC_CHILDREN if name in running}
    gauges = {name: beat.gauges if beat else {} for name, beat in beats.items()}
    listener = gauges.get("listener", {})
    return {
        "phase": health.sync_phase(state),
        "pending": listener.get("pending", 0),
        "unmirrorable": listener.get("unmirrorable", 0),
        "lag_ms": listener.get("lag_ms", 0),
        "mirrored_total": mirrored_before + sum(mirrored(beat) for beat in beats.values()),
    }


def mirrored(beat: Beat | None) -> int:
    """Return how many customers the child that sent `beat` has mirrored."""
    total = beat.gauges.get("mirrored_total") if beat else None
    return total if isinstance(total, int) else 0


def render(status: Mapping[str, Any], console: Console) -> None:
    """Print `status` for people; without colours and without cutting where it is not a terminal."""
    if not console.is_terminal:
        console = Console(file=console.file, width=10_000, color_system=None)
    verdict = "healthy" if status["healthy"] else f"not healthy: {status['reason']}"
    style = "green" if status["healthy"] else "red"
    _line(console, f"{status['instance']} (pid {status['pid']}): {verdict}", style)
    _line(console, f"MongoDB  {status['mongo_uri']}")
    sync = status["sync"]
    if sync["phase"] is not None:
        figures = f"{sync['pending']} pending, {sync['lag_ms']} ms behind, {sync['mirrored_total']} mirrored"
        left_out = f", {sync['unmirrorable']} left out (unmirrorable)" if sync["unmirrorable"] else ""
        _line(console, f"mirror   {sync['phase']}: {figures}{left_out}")
    table = Table("child", "state", "pid", "uptime", "restarts", "phase", "figures", box=None, pad_edge=False)
    for child in status["children"]:
        table.add_row(
            child["name"],
            child["state"],
            str(child["pid"] or "-"),
            f"{child['uptime_s']:.0f} s",
            str(child["restarts"]),
            Text(child["phase"] or "-"),
            Text(", ".join(f"{name} {value}" for name, value in child["gauges"].items())),
        )
    console.print(table)
    for death in status["deaths"]:
        where = f" in phase {death['phase']}" if death["phase"] else ""
        reason = f": {death['reason']}" if death["reason"] else ""
        ended = f"{death['child']} (pid {death['pid']}) ended by {death['cause']}"
        _line(console, f"{death['time']}  {ended}{where}{reason}")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
