"""What is measured over time, and the rule that tells growth without bound from noise."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, median


@dataclass(frozen=True)
class Tolerance:
    """How much the last quarter may lie above the second one: a share of it, and a fixed amount on top.

    `share` None: the curve is shown, not judged. Nor is it where the first quarter is shorter than
    `settles_s`, the time after which the server itself clears away what was abandoned.
    """

    share: float | None
    amount: float
    settles_s: float = 0


# By the last part of a curve's name.
TOLERANCES = {
    "private_kb": Tolerance(0.05, 1_500),
    "fds": Tolerance(0, 2),
    "threads": Tolerance(0, 2),
    "connections": Tolerance(0.1, 5),
    "sessions": Tolerance(0.2, 20, settles_s=150),
    "transactions": Tolerance(0.2, 3),
    "cursors": Tolerance(0.2, 5, settles_s=70),
    "session_records": Tolerance(0.2, 20, settles_s=150),
    "state_documents": Tolerance(0.1, 10),
    "state_bytes": Tolerance(0.1, 5_000),
    "state_dir_bytes": Tolerance(0.1, 100_000),
    "lag_ms": Tolerance(0.5, 2_000),
    "pending": Tolerance(0.5, 500),
}
SHOWN_ONLY = Tolerance(None, 0)
FEWEST = 8
"""Samples that can be judged: two a quarter."""


@dataclass
class Curves:
    """Samples by name, each with the second it was taken at."""

    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, at_s: float, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.samples.setdefault(name, []).append((at_s, value))

    def grown(self) -> list[str]:
        """Return the curves that grow without bound."""
        return [name for name in self.samples if self._judge(name) == "GROWS"]

    def table(self) -> str:
        """Return start, quarter points, end and slope after the warm-up of each curve, and the verdict."""
        heads = ("start", "25 %", "50 %", "75 %", "end", "per hour", "")
        lines = [f"{'':32}" + "".join(f"{head:>13}" for head in heads)]
        for name, series in self.samples.items():
            values = [value for _, value in series]
            points = [values[round(part * (len(values) - 1))] for part in (0, 0.25, 0.5, 0.75, 1)]
            figures = [*points, slope(series[len(series) // 4 :]) * 3600]
            lines.append(f"{name:32}" + "".join(f"{f:13,.0f}" for f in figures) + f"{self._judge(name):>13}")
        return "\n".join(lines)

    def csv(self) -> str:
        """Return one line a sample: second, name, value."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(("second", "name", "value"))
        writer.writerows(self._rows())
        return out.getvalue()

    def _rows(self) -> Iterator[tuple[float, str, float]]:
        for name, series in self.samples.items():
            for at_s, value in series:
                yield round(at_s, 1), name, value

    def _judge(self, name: str) -> str:
        tolerance = TOLERANCES.get(name.rpartition(" ")[2], SHOWN_ONLY)
        if tolerance.share is None:
            return "shown only"
        series = self.samples[name]
        if len(series) < FEWEST or series[-1][0] / 4 < tolerance.settles_s:
            return "too short"
        return "GROWS" if grows([value for _, value in series], tolerance) else "flat"


def grows(values: list[float], tolerance: Tolerance) -> bool:
    """Tell whether the median of the last quarter lies above that of the second by more than is tolerated.

    The first quarter is the warm-up; medians, so that a peak counts for nothing.
    """
    if tolerance.share is None or len(values) < FEWEST:
        return False
    quarter = len(values) // 4
    before, after = median(values[quarter : 2 * quarter]), median(values[-quarter:])
    return after > before * (1 + tolerance.share) + tolerance.amount


def slope(series: list[tuple[float, float]]) -> float:
    """Return the growth a second of the straight line that fits best."""
    middle_x, middle_y = fmean(x for x, _ in series), fmean(y for _, y in series)
    spread = sum((x - middle_x) ** 2 for x, _ in series)
    return sum((x - middle_x) * (y - middle_y) for x, y in series) / spread if spread else 0.0
