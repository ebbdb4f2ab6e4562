"""The files in ops/, Dockerfile and compose.yaml fit each other; promtool has nothing to say against them."""

import re
import stat
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from supervisor.settings import load
from tests.promql import OPS, RULE_TESTS, RULES, SCRAPING, alarms, board, expressions, panels, promtool

ROOT = OPS.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w-]+)?")
VARIABLES = {"$__rate_interval": "1m", "$mirror": "clientsync", "$instance": ".*"}


@pytest.mark.parametrize(
    "check", [("check", "rules", RULES), ("test", "rules", RULE_TESTS), ("check", "config", SCRAPING)]
)
def test_promtool_is_content(check: tuple[str, str, Path]) -> None:
    checked = subprocess.run([promtool(), *map(str, check)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("alarm", alarms(), ids=lambda alarm: alarm["alert"])
def test_each_alarm_says_how_bad_it_is_and_where_to_read_what_to_do(alarm: dict[str, Any]) -> None:
    name, told = alarm["alert"], alarm["annotations"]

    assert alarm["labels"]["severity"] in {"critical", "warning"}
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert re.search(rf"^#+ {name}$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [alarm["alert"] for alarm in alarms()])
def test_each_alarm_is_tried_where_it_is_called_for_and_where_not(name: str) -> None:
    situations = yaml.safe_load(RULE_TESTS.read_text())["tests"]

    tried = [
        each for situation in situations for each in situation["alert_rule_test"] if each["alertname"] == name
    ]

    assert {bool(each["exp_alerts"]) for each in tried} == {True, False}


def test_each_expression_of_the_board_is_one(tmp_path: Path) -> None:
    texts = [expression for expression, _ in expressions()]
    for variable, value in VARIABLES.items():
        texts = [text.replace(variable, value) for text in texts]
    rules = [{"record": f"board:{number}", "expr": text} for number, text in enumerate(texts)]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))

    checked = subprocess.run(
        [promtool(), "check", "rules", str(tmp_path / "board.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "$" not in "".join(texts)
    assert len(texts) > 25


def test_the_board_asks_the_chosen_data_source_for_the_chosen_instances() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}

    assert {each["name"] for each in board()["templating"]["list"]} == {"datasource", "mirror", "instance"}
    for panel in panels():
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]
    for expression, _ in expressions():
        selectors = re.findall(r"clientsync_\w+(\{[^}]*\})?", expression)
        assert all('job=~"$mirror", instance=~"$instance"' in each for each in selectors), expression


def test_what_is_shown_as_of_now_is_no_older() -> None:
    """The newest figure of a range may be that of a daemon that was killed long ago."""
    stats = [panel for panel in panels() if panel["type"] in ("stat", "bargauge", "table")]

    assert len(stats) > 10
    assert [panel["title"] for panel in stats for target in panel["targets"] if not target["instant"]] == []


def test_the_panels_say_what_they_show_and_do_not_cover_each_other() -> None:
    places = [(panel["id"], panel["gridPos"]) for panel in board()["panels"]]

    assert len({id_ for id_, _ in places}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    for (_, one), (_, other) in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["description"] for panel in panels())


def test_the_data_source_scrapes_as_often_as_prometheus_does() -> None:
    provisioned = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())

    interval = provisioned["datasources"][0]["jsonData"]["timeInterval"]

    assert interval == yaml.safe_load(SCRAPING.read_text())["global"]["scrape_interval"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_pinned_and_open_to_this_machine_alone(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["image"] == "clientsync:local" or PINNED.fullmatch(service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    mounts = [volume.split(":")[0] for volume in service["volumes"]]
    assert all((ROOT / mount).exists() for mount in mounts if mount.startswith("./"))
    assert {mount for mount in mounts if not mount.startswith("./")} <= COMPOSE["volumes"].keys()
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()


@pytest.mark.parametrize("name", ["clientsync", "generator"])
def test_the_settings_of_the_composition_are_valid_with_the_secrets_that_are_made(
    name: str, tmp_path: Path
) -> None:
    subprocess.run([str(OPS / "secrets.sh"), str(tmp_path / "secrets")], check=True)
    environment = {
        setting: value.replace("/run/secrets", str(tmp_path / "secrets"))
        for setting, value in COMPOSE["services"][name]["environment"].items()
    }

    settings = load(None, {**environment, "STATE_DIR": str(tmp_path)}, instance="default")

    assert re.fullmatch(
        rf"mongodb://{name}:[0-9a-f]{{32}}@mongo:27017/\?replicaSet=rs0&authSource=admin",
        settings.database.uri,
    )
    assert settings.stop_timeout_ms / 1000 < int(
        COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")
    )


def test_secrets_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    make = [str(OPS / "secrets.sh"), str(directory)]
    subprocess.run(make, check=True)
    made = {path.name: path.read_text() for path in directory.iterdir()}
    (directory / "anon_key").unlink()

    subprocess.run(make, check=True)

    again = {path.name: path.read_text() for path in directory.iterdir()}
    assert made.keys() == again.keys() == COMPOSE["secrets"].keys()
    assert {name for name in made if made[name] != again[name]} == {"anon_key"}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not any(secret.strip() in (ROOT / "compose.yaml").read_text() for secret in made.values())


def test_the_image_is_built_from_files_that_docker_is_shown() -> None:
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }

    assert copied == shown
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_pinned_and_is_nobodys_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    last = dict(re.findall(r"^(\w+) (.*)$", DOCKERFILE, re.MULTILINE))

    assert all(PINNED.fullmatch(base) for base in bases)
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"].startswith("[")  # no shell that would keep a signal to itself
