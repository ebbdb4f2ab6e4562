"""What was measured: rows of samples, their medians, their ratio to a floor; as a table and as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from statistics import median, quantiles
from typing import Any, Literal


@dataclass(frozen=True)
class Sample:
    """One round: the value, and the CPU seconds behind it, which a noisy machine changes less."""

    value: float
    client_cpu_s: float | None = None
    mongod_cpu_s: float | None = None


@dataclass(frozen=True)
class Goal:
    """What the row should reach: a bound for the median of its values, or of its ratios."""

    of: Literal["median", "ratio"]
    side: Literal["≤", "≥"]
    bound: float

    def __str__(self) -> str:
        return f"{self.side} {self.bound:,g}{' ×' if self.of == 'ratio' else ''}"

    def is_met(self, reached: float) -> bool:
        """Tell whether `reached` is on the right side."""
        return reached <= self.bound if self.side == "≤" else reached >= self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table. `floor` is the `what` of another row of the same question."""

    what: str
    unit: str
    samples: list[Sample]
    floor: str | None = None
    goal: Goal | None = None

    @property
    def values(self) -> list[float]:
        """The value of each round."""
        return [sample.value for sample in self.samples]

    @property
    def median(self) -> float:
        """The median over all rounds."""
        return median(self.values)


def per_second(count: int, samples: Iterable[Sample]) -> list[Sample]:
    """Return rates for samples that are the seconds of `count` customers."""
    return [replace(sample, value=count / sample.value) for sample in samples]


def percent(values: Iterable[float], share: int) -> float:
    """Return the percentile: `percent(values, 99)` is what 99 in a hundred stay below."""
    found = sorted(values)
    return quantiles(found, n=100, method="inclusive")[share - 1] if len(found) > 1 else found[0]


def ratios(row: Row, rows: Iterable[Row]) -> list[float]:
    """Return value by floor, round by round where both have the same rounds; empty without a floor."""
    floors = [each for each in rows if each.what == row.floor]
    if not floors:
        return []
    floor = floors[0]
    if len(floor.values) == len(row.values):
        return [value / base for value, base in zip(row.values, floor.values, strict=True)]
    return [row.median / floor.median]


def reached(row: Row, rows: Iterable[Row]) -> bool | None:
    """Tell whether the goal is met; None without a goal, or where its floor was left out."""
    if row.goal is None:
        return None
    if row.goal.of == "median":
        return row.goal.is_met(row.median)
    found = ratios(row, rows)
    return row.goal.is_met(median(found)) if found else None


HEAD = (
    "| what | median | min … max | ratio to its floor | min … max | goal | CPU s, client + mongod |\n"
    "|---|--:|--:|--:|--:|---|--:|"
)


def heading(question: str) -> str:
    """Return a line of the table that names what follows."""
    return f"| **{question}** | | | | | | |"


def table(rows: list[Row]) -> str:
    """Return the lines of a Markdown table; HEAD goes before the first."""
    return "\n".join(_line(row, rows) for row in rows)


def _line(row: Row, rows: list[Row]) -> str:
    found = ratios(row, rows)
    met = {True: " ✓", False: " ✗", None: ""}[reached(row, rows)]
    cells = (
        row.what,
        f"{_short(row.median)} {row.unit}".strip(),
        _span(row.values),
        f"{median(found):.2f}" if found else "",
        f"{min(found):.2f} … {max(found):.2f}" if len(found) > 1 else "",
        f"{row.goal}{met}" if row.goal else "",
        _cpu(row.samples),
    )
    return f"| {' | '.join(cells)} |"


def _span(values: list[float]) -> str:
    return f"{_short(min(values))} … {_short(max(values))}" if len(values) > 1 else ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _cpu(samples: list[Sample]) -> str:
    client = [sample.client_cpu_s for sample in samples if sample.client_cpu_s is not None]
    mongod = [sample.mongod_cpu_s for sample in samples if sample.mongod_cpu_s is not None]
    return f"{median(client):.2f} + {median(mongod):.2f}" if client and mongod else ""


def to_json(row: Row) -> dict[str, Any]:
    """Return all that the row knows."""
    return asdict(row)


def from_json(stored: dict[str, Any]) -> Row:
    """Return the row behind `to_json`."""
    goal = Goal(**stored["goal"]) if stored["goal"] else None
    return Row(**{**stored, "goal": goal, "samples": [Sample(**each) for each in stored["samples"]]})
