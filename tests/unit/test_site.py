"""Which path answers what, to whom, and when there is no news."""

import base64
import hashlib
import json
import re
from http import HTTPStatus
from typing import Any

import pytest

from procs.config import WebConfig
from procs.httpd import Answer
from procs.site import HISTORY, Site
from supervisor.screen import HINTS
from tests.unit.status import status

CONFIG = WebConfig("monitor.example.com", 9464, ready_max_lag_ms=2_000)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> Site:
    """A site that was just told of a healthy daemon."""
    site = Site(CONFIG, clock)
    site.tell(status(), CONFIG)
    return site


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body.decode()


def ready(site: Site, **changed: Any) -> tuple[int, str]:
    site.tell(status(**changed), CONFIG)
    return told(site.answer("/readyz", {}))


def test_a_healthy_daemon_works_and_is_ready(site: Site) -> None:
    assert told(site.answer("/healthz", {})) == (200, "ok\n")
    assert told(site.answer("/readyz", {})) == (200, "ready\n")


def test_ready_means_that_the_lag_is_known_and_not_past_the_setting(site: Site) -> None:
    assert ready(site, sync={"phase": "live", "lag_s": 2.0}) == (200, "ready\n")
    assert ready(site, sync={"phase": "live", "lag_s": 2.04}) == (
        503,
        "the mirror is 2.0 s behind, more than 2 s\n",
    )
    assert ready(site, sync={"phase": "live", "lag_s": None})[0] == 503


def test_what_is_not_healthy_is_not_ready_for_that_reason_in_one_line(site: Site) -> None:
    answer = ready(site, healthy=False, health="failing", reason="writer: backoff\n(no rights)")

    assert answer == (503, "writer: backoff (no rights)\n")


@pytest.mark.parametrize("phase", ["standby", None])
def test_who_stands_by_or_does_not_mirror_is_ready_however_far_the_mirror_is(
    site: Site, phase: str | None
) -> None:
    assert ready(site, sync={"phase": phase, "lag_s": None}) == (200, "ready\n")


def test_the_limit_is_that_of_the_config_in_force(site: Site) -> None:
    late = status(sync={"phase": "live", "lag_s": 3.0})

    site.tell(late, WebConfig(CONFIG.host, CONFIG.port, ready_max_lag_ms=4_000))

    assert site.answer("/readyz", {}).status == 200


def test_a_silent_supervisor_is_neither_working_nor_ready_nor_measured(site: Site, clock: Clock) -> None:
    clock.now += 7

    silent = (503, "the supervisor has been silent for 7 s\n")
    assert told(site.answer("/healthz", {})) == silent
    assert told(site.answer("/readyz", {})) == silent
    metrics = site.answer("/metrics", {}).body.decode()
    assert re.findall(r"^clientsync_\w+", metrics, re.MULTILINE) == ["clientsync_healthy", "clientsync_ready"]


def test_before_the_first_status_everything_says_so() -> None:
    site = Site(CONFIG)

    for path in ("/healthz", "/readyz", "/status.json"):
        assert told(site.answer(path, {})) == (503, "starting: the supervisor has told nothing yet\n")


def test_the_status_is_the_one_that_was_told_and_the_past_is_kept_for_a_while(site: Site) -> None:
    for second in range(HISTORY + 5):
        moment = f"2026-01-02T{3 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}+00:00"
        site.tell(status(time=moment, sync={"phase": "live", "lag_s": 0.5, "mirrored_total": second}), CONFIG)

    assert json.loads(site.answer("/status.json", {}).body)["sync"]["mirrored_total"] == HISTORY + 4
    history = json.loads(site.answer("/history.json", {}).body)
    assert [point[2] for point in history] == list(range(5, HISTORY + 5))
    assert history[1][0] - history[0][0] == 1


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "localhost:9464",
        "127.0.0.1:9464",
        "[::1]:9464",
        "[::1]",
        "192.168.0.7",
        "clientsync:9464",
        "monitor.example.com:9464",
        "Monitor.Example.Com",
    ],
)
def test_it_answers_by_address_by_a_local_name_and_by_its_own(site: Site, host: str) -> None:
    assert site.answer("/healthz", {"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.evil.com:9464", "localhost.evil.com", "a.b", "::x"]
)
@pytest.mark.parametrize("path", ["/", "/metrics", "/status.json", "/healthz"])
def test_a_name_of_somebody_else_is_refused_on_every_path(site: Site, host: str, path: str) -> None:
    assert site.answer(path, {"Host": host}).status == HTTPStatus.MISDIRECTED_REQUEST


def test_an_unknown_path_is_told_which_there_are(site: Site) -> None:
    code, text = told(site.answer("/metrics/", {}))

    assert code == 404
    assert text == "there is only /, /healthz, /readyz, /metrics, /status.json, /history.json\n"


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=1.b.c;=;", "*/*"]
)
def test_no_accept_header_brings_it_down(site: Site, accept: str) -> None:
    assert site.answer("/metrics", {"accept": accept}).status in (200, 406)


def test_openmetrics_is_told_to_who_asks_for_it(site: Site) -> None:
    answer = site.answer("/metrics", {"Accept": "application/openmetrics-text;version=1.0.0"})

    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


def test_the_page_allows_only_the_script_and_the_style_that_it_holds(site: Site) -> None:
    page = site.answer("/", {})

    headers, text = dict(page.headers), page.body.decode()
    policy = headers["Content-Security-Policy"]
    for element in ("script", "style"):
        ((content),) = re.findall(rf"<{element}>(.+?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(r"\son\w+=|https?://(?!www\.w3\.org)|style=", text)
    assert "innerHTML" not in text


def test_the_page_says_what_to_do_in_the_words_of_the_screen(site: Site) -> None:
    page = site.answer("/", {}).body.decode()

    assert [hint for hint in HINTS.values() if hint.replace("`", "") not in page] == []
