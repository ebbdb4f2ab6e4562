"""How far a reindex is: a bar on a terminal, a log line every few seconds elsewhere, a summary at its end.

No thread: the loop of the supervisor calls `show` and says when.
"""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from procs.messages import Gauge

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

log = logging.getLogger(__name__)

BAR_EVERY_S = 0.5
LINE_EVERY_S = 5.0
FIGURES = ("scanned", "inserted", "replaced", "deleted", "unchanged", "seconds")


class ReindexProgress:
    """Shows the newest gauges of the reindexer."""

    def __init__(self, console: "Console | None") -> None:
        """Show a bar on `console`; None: it is no terminal."""
        self._bar = None if console is None else _bar(console)
        self._task: TaskID | None = None
        self._shown_at = float("-inf")

    @property
    def every_s(self) -> float:
        """How often `show` has something new to show."""
        return LINE_EVERY_S if self._bar is None else BAR_EVERY_S

    def show(self, gauges: Mapping[str, Gauge], now: float) -> None:
        """Show `gauges` if it is time to; `total` may be missing or an estimate."""
        if now - self._shown_at < self.every_s or "scanned" not in gauges:
            return
        scanned, total, rate = (_number(gauges.get(name)) for name in ("scanned", "total", "rate"))
        if self._bar is None and not rate and self._shown_at == float("-inf"):
            return  # a first line before the first chunk could tell nothing
        self._shown_at = now
        left = f"{max(0.0, total - scanned) / rate:.0f} s left" if rate and total else ""
        if self._bar is None:
            text = ", ".join(f"{name} {gauges[name]}" for name in FIGURES if name in gauges)
            of_total = f" of {total:.0f}" if total else ""
            log.info(
                "reindex: %s%s, %.0f/s%s",
                text,
                of_total,
                rate,
                f", {left}" if left else "",
                extra={
                    "event": "reindex_progress",
                    **{name: gauges.get(name) for name in ("scanned", "total")},
                },
            )
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("reindex", rate="", left="")
        self._bar.update(
            self._task, completed=scanned, total=max(total, scanned) or None, rate=f"{rate:.0f}/s", left=left
        )
        self._bar.refresh()

    def finish(self, summary: Mapping[str, Gauge]) -> None:
        """Print the summary line on stdout."""
        self.close()
        line = " ".join(f"{name}={summary.get(name, 0)}" for name in FIGURES) + "\n"
        if sys.stdout is not None:
            with suppress(OSError):  # the work is done, whether or not it can be told
                os.write(sys.stdout.fileno(), line.encode())

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None and self._task is not None:
            self._bar.stop()
            self._task = None


def _bar(console: "Console") -> "Progress":
    # Loaded for a terminal only: it takes longer than all that a small reindex does.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
    )


def _number(gauge: Gauge) -> float:
    return float(gauge) if isinstance(gauge, int | float) else 0.0
