"""The status on one screen, for people: first how it is, and why; then how far; then who does it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Status = Mapping[str, Any]

STYLES = {
    "healthy": "bold green",
    "standby": "bold cyan",
    "starting": "bold yellow",
    "catching up": "bold yellow",
    "stopping": "bold yellow",
    "waiting": "bold red",
    "degraded": "bold red",
    "failing": "bold red",
}
HINTS = {
    "waiting": "`clientsync-supervisor check` says what is in the way",
    "degraded": "the last deaths and the log say why; it is tried on, slowly",
    "failing": "the last deaths and the log say why; it starts again by itself",
}
STATES = {"running": "green", "starting": "yellow", "stopping": "yellow", "backoff": "red", "degraded": "red"}

NARROW = 90
"""Columns below which a table leaves out what matters least."""
LABEL_WIDTH = 9


def render(status: Status, console: Console) -> None:
    """Print `status`; without colours and without cutting where it is not a terminal."""
    if not console.is_terminal:
        console = Console(file=console.file, width=10_000, color_system=None)
    console.print(view(status, narrow=console.width < NARROW))


def view(status: Status, *, narrow: bool) -> RenderableType:
    """Return the whole screen."""
    lines = [_line(label, text) for label, text in _figures(status)]
    screen: list[RenderableType] = [_verdict(status), *lines, _children(status, narrow=narrow)]
    if narrow:
        screen += [
            Text(f"{child['name']} ended by {_death(child['last_death'], status['time'])}")
            for child in status["children"]
            if child["last_death"]
        ]
    return Group(*screen)


def _verdict(status: Status) -> Text:
    word, reason = status["health"], status["reason"]
    text = Text.assemble((word, STYLES[word]), f": {reason}" if reason else "")
    if word in HINTS:
        text.append(f" ({HINTS[word]})")
    return text


def _line(label: str, text: str | Text) -> Text:
    return Text(f"{label:<{LABEL_WIDTH}}", "dim").append_text(Text().append(text))


def _figures(status: Status) -> Iterator[tuple[str, str | Text]]:
    """Yield what each line is about, and what it says."""
    yield "daemon", f"{status['instance']} (pid {status['pid']}), clientsync {status['clientsync']}"
    yield "MongoDB", status["mongo_uri"]
    sync, stream, rates = status["sync"], status["stream"], status["rates"]
    if sync["phase"] is not None:
        yield "mirror", ", ".join(_mirror(sync, rates))
    if "generated" in rates:
        yield "source", f"{rates['generated']:,} generated/s"
    if stream is not None:
        yield "stream", ", ".join(_stream(stream))
        yield "lease", _lease(stream)
    if scan := status["scan"]:
        yield "scan", _scan(scan)
    if verify := status["verify"]:
        yield "verify", _verify(verify, status["time"])


def _mirror(sync: Status, rates: Mapping[str, float]) -> Iterator[str]:
    pending = "pending unknown" if sync["pending"] is None else f"{sync['pending']:,} pending"
    yield f"{sync['phase']}: {pending}"
    if sync["lag_s"] is not None:
        yield f"{span(sync['lag_s'])} behind"
    yield f"{sync['mirrored_total']:,} mirrored"
    if "mirrored" in rates:
        yield f"{rates['mirrored']:,}/s"
    if sync["unmirrorable"]:
        yield f"{sync['unmirrorable']:,} left out (unmirrorable)"


def _stream(stream: Status) -> Iterator[str]:
    if stream["position_time"]:
        yield f"read up to {stream['position_time'].partition('.')[0]}Z"
    age, window, size = (stream[name] for name in ("checkpoint_age_s", "oplog_window_s", "oplog_size_s"))
    yield "no checkpoint known" if age is None else f"checkpoint {span(age)} old"
    if window is None:
        yield "oplog window unknown"
    else:
        yield f"oplog window {span(window)} of {span(size or 0)}"


def _lease(stream: Status) -> str:
    lease, standbys = stream["lease"], stream["standbys"]
    if lease["held"] is None:
        return "not known"
    holder = "this instance" if lease["ours"] else lease["holder"]
    text = f"held by {holder} (term {lease['term']})" if lease["held"] else "held by nobody"
    return f"{text}, standing by: {', '.join(standbys) if standbys else 'none'}"


def _scan(scan: Status) -> str:
    total, left = scan["total"], scan["left_s"]
    text = f"{scan['kind']}: {scan['scanned']:,}"
    if total:
        text += f" of {total:,} ({min(100, 100 * scan['scanned'] // total)} %)"
    if scan["rate"]:
        text += f", {scan['rate']:,}/s"
    return text if left is None else f"{text}, {span(left)} left"


def _verify(verify: Status, now: str) -> Text:
    wrong = [f"{verify[kind]:,} {kind}" for kind in ("missing", "stale", "orphaned") if verify[kind]]
    again = f" ({verify['repaired']:,} copied again and right since)" if verify["repaired"] else ""
    found = Text((", ".join(wrong) or "no difference") + again, "red" if wrong else "")
    ago = span(_seconds_between(verify["at"], now))
    return Text(f"{ago} ago: {verify['compared'] or 0:,} compared, ").append_text(found)


def _children(status: Status, *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("child", "state", "pid", "uptime", "restarts"):
        table.add_column(heading, no_wrap=True)
    if not narrow:
        table.add_column("phase", no_wrap=True)
        table.add_column("last death")
    for child in status["children"]:
        cells = (
            Text(child["name"]),
            Text(child["state"], STATES.get(child["state"], "")),
            Text(str(child["pid"] or "-")),
            Text("-" if child["uptime_s"] is None else span(child["uptime_s"])),
            Text(str(child["restarts"])),
            Text(child["phase"] or "-"),
            Text(_death(child["last_death"], status["time"])),
        )
        table.add_row(*cells[: len(table.columns)])
    return table


def _death(death: Status | None, now: str) -> str:
    if death is None:
        return "-"
    text = f"{death['cause']} {span(_seconds_between(death['time'], now))} ago"
    if death["phase"]:
        text += f" in phase {death['phase']}"
    return text + (f": {death['reason']}" if death["reason"] else "")


def _seconds_between(earlier: str, later: str) -> float:
    moments = [datetime.fromisoformat(each).astimezone(UTC) for each in (earlier, later)]
    return max(0.0, (moments[1] - moments[0]).total_seconds())


def span(seconds: float) -> str:
    """Return a length of time in its two largest units: `0.4 s`, `2 h 14 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    left = round(seconds)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    largest = next(index for index, (_, size) in enumerate(units) if left >= size)
    parts = []
    for unit, size in units[largest : largest + 2]:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts)
