"""docs/operations.md names each alarm and each exit code, and its links lead somewhere."""

import re
from pathlib import Path

from supervisor import exit_codes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
ALERTS = (ROOT / "ops" / "prometheus" / "alerts.yml").read_text()


def anchors() -> set[str]:
    """Return what GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alarm_has_a_heading_and_each_heading_of_an_alarm_its_alarm() -> None:
    alarms = re.findall(r"- alert: (\w+)", ALERTS)
    headings = re.findall(r"^### (Clientsync\w+)$", PAGE, re.MULTILINE)

    assert len(alarms) > 5
    assert sorted(headings) == sorted(alarms)


def test_the_runbook_of_each_alarm_is_its_heading() -> None:
    runbooks = re.findall(r"- alert: (\w+).*?runbook_url: docs/operations\.md#(\S+)", ALERTS, re.DOTALL)

    assert runbooks == [(alarm, alarm.lower()) for alarm in re.findall(r"- alert: (\w+)", ALERTS)]
    assert {anchor for _, anchor in runbooks} <= anchors()


def test_each_exit_code_is_explained() -> None:
    table = PAGE.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_no_link_of_the_readme_or_the_page_leads_nowhere() -> None:
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(#([^)]+)\)", PAGE) + re.findall(r"\(docs/operations\.md#([^)]+)\)", readme)

    assert len(links) > 5
    assert {*links} - anchors() == set()
