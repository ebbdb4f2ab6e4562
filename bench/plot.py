"""Draws what has a floor: each ratio, its spread and its goal, as an SVG. Needs matplotlib."""

import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from bench.rows import Row, from_json, ratios

# The same figures make the same file, with text that is text.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "clientsync"})

NAME = "ratios.svg"
RATE = "/s"


def draw(results: Path, questions: list[str]) -> Path:
    """Draw the stored results of `questions` into `results`; return where."""
    shown: list[tuple[Row, list[float]]] = []
    for question in questions:
        stored = json.loads((results / f"{question}.json").read_text())["rows"]
        rows = [from_json(each) for each in stored]
        shown += [(row, found) for row in rows if row.unit and (found := ratios(row, rows))]
    figure, axes = pyplot.subplots(figsize=(11, 1.2 + 0.28 * len(shown)), layout="constrained")
    for place, (row, found) in enumerate(shown):
        colour = "tab:blue" if row.unit.endswith(RATE) else "tab:orange"
        axes.plot([min(found), max(found)], [place, place], color=colour, linewidth=2, alpha=0.5)
        axes.plot(median(found), place, "o", color=colour)
        if row.goal and row.goal.of == "ratio":
            axes.plot(row.goal.bound, place, "|", color="black", markersize=12)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_yticks(range(len(shown)), [row.what for row, _ in shown], fontsize=8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(
        "ratio to its floor; | is the goal. Blue: rates, more is better. Orange: times, less is better."
    )
    figure.savefig(results / NAME, metadata={"Date": None})
    return results / NAME
