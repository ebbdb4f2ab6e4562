"""Which metrics and labels the alarms and the board ask for."""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

OPS = Path(__file__).parents[1] / "ops"
RULES, RULE_TESTS = OPS / "prometheus" / "alerts.yml", OPS / "prometheus" / "alerts.test.yml"
SCRAPING = OPS / "prometheus" / "prometheus.yml"

OF_PROMETHEUS = {"job", "instance", "le", "severity"}
"""Labels that Prometheus, a histogram or the alarm itself adds."""

METRIC = re.compile(r"\b(clientsync_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([\w\s,]*)\)")
LEGEND = re.compile(r"{{\s*(?:\$labels\.)?(\w+)\s*}}")

Asked = dict[str, set[str]]


def promtool() -> str:
    """Return its path; the test is skipped where it is missing."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    return found


def alarms() -> list[dict[str, Any]]:
    """Return all alarms."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    """Return the board."""
    return dict(json.loads((OPS / "grafana" / "clientsync.json").read_text()))


def panels() -> list[dict[str, Any]]:
    """Return its panels, but for the rows."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of the board with the texts that show its labels."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for annotation in board()["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["expr"], annotation["titleFormat"] + annotation["textFormat"]


def asked() -> Asked:
    """Return each metric that an alarm or the board asks for, with the labels that it must have."""
    found: Asked = defaultdict(set)
    told = [(alarm["expr"], " ".join(alarm["annotations"].values())) for alarm in alarms()]
    for expression, text in (*told, *expressions()):
        shown, _, condition = expression.partition(" and ")
        common = {label for group in GROUPING.findall(shown) for label in re.findall(r"\w+", group)}
        common |= set(LEGEND.findall(text))
        for metric, matchers in METRIC.findall(shown):
            found[metric] |= (common | set(MATCHER.findall(matchers))) - OF_PROMETHEUS
        for metric, matchers in METRIC.findall(condition):
            found[metric] |= set(MATCHER.findall(matchers)) - OF_PROMETHEUS
    return found
