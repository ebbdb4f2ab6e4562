"""The live page of a real daemon in a real browser."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo.collection import Collection

from procs.config import WebConfig
from procs.httpd import HttpServer
from procs.site import Site
from procs.web import listen
from tests.eventually import eventually
from tests.mongod_process import MongodProcess, free_port
from tests.system.chromium import Chromium, find
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer
from tests.unit.status import STATUS, status

Run = Callable[..., DaemonProcess]
ROW_OF = "[...document.querySelectorAll('#processes tr')].find(row => row.cells[0].innerText.includes('{}'))"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    path = find()
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    (tmp_path / "profile").mkdir()
    with Chromium(tmp_path / "profile", path=path) as browser:
        browser.window(1120, 1000)
        yield browser


@pytest.fixture
def url(connected: CommandLine) -> str:
    return f"http://127.0.0.1:{free_port()}/"


@pytest.fixture
def served(connected: CommandLine, url: str) -> CommandLine:
    return connected.having(METRICS_ADDR=url.removeprefix("http://").removesuffix("/"))


@pytest.fixture
def site() -> Iterator[Site]:
    """A site without a daemon: a test tells it what it shows."""
    with listen("127.0.0.1", 0) as listening:
        site = Site(WebConfig("127.0.0.1", listening.getsockname()[1], ready_max_lag_ms=1_000))
        with HttpServer(listening, site.answer) as http:
            worker = threading.Thread(target=http.serve_forever, args=(0.05,))
            worker.start()
            yield site
            http.shutdown()
            worker.join()


def test_it_shows_a_restart_and_a_new_customer_by_itself_and_asks_nobody_else(
    served: CommandLine, url: str, browser: Chromium, source: Collection[Customer], run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    browser.open(url)
    browser.shows("healthy", "#health")
    browser.evaluate("window.sameAsBefore = true")
    pid = daemon.pids()["writer"]

    os.kill(pid, signal.SIGKILL)
    source.insert_many([customer(each) for each in range(1_234)])

    writer = ROW_OF.format("writer")
    eventually(lambda: browser.evaluate(f"{writer}.querySelector('.restarts').innerText") == "1")
    assert "SIGKILL" in browser.evaluate(f"{writer}.innerText")
    assert "SIGKILL" in browser.shows("writer", "#deaths")
    eventually(lambda: int(browser.text("#mirrored").replace(",", "")) >= 1_234)
    browser.shows("healthy", "#health")
    eventually(lambda: browser.evaluate("document.querySelector('#rate-chart .line').getAttribute('d')"))
    rate = browser.evaluate("document.getElementById('rate-chart').getAttribute('aria-label')")
    assert rate.startswith("rate over the last 5 minutes: now ")
    assert browser.evaluate("window.sameAsBefore")
    assert {request for request in browser.requests() if not request.startswith(("data:", url))} == set()
    assert browser.complaints() == []


def test_it_says_when_the_daemon_is_gone_and_since_when_and_sees_it_come_back(
    served: CommandLine, url: str, browser: Chromium, run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    browser.open(url)
    browser.shows("healthy", "#health")

    daemon.ask("stop")

    browser.shows("unreachable", "#health")
    since = browser.text("#reason")
    assert since.startswith("No answer since ")
    assert browser.evaluate("document.title").startswith("unreachable · default")
    assert browser.evaluate("getComputedStyle(document.querySelector('.tiles')).opacity") == "0.55"
    assert "listener" in browser.text("#processes")
    run(served, "start", "sync").healthy()
    browser.shows("healthy", "#health")


def test_it_says_when_mongodb_is_gone_and_what_to_do(
    command: CommandLine, url: str, tmp_path: Path, browser: Chromium, run: Run
) -> None:
    with MongodProcess(tmp_path / "mongod", cache_gb=0.25, oplog_mb=16) as mongod:
        address = url.removeprefix("http://").removesuffix("/")
        run(command.having(MONGO_URI=mongod.uri, METRICS_ADDR=address), "start", "sync").healthy()
        browser.open(url)
        browser.shows("healthy", "#health")

        mongod.kill()

        browser.shows("waiting", "#health")
        reason = browser.text("#reason")
        assert reason.startswith("MongoDB cannot be reached (clientsync-supervisor check says ")
        assert browser.evaluate("document.querySelector('#hero').dataset.tone") == "bad"


def test_what_a_verify_found_is_loud_until_the_next_one_and_a_clock_that_is_set_back_hides_nothing(
    site: Site, browser: Chromium
) -> None:
    def show(time: str, lag_s: float, **verify: int) -> None:
        sync = {**STATUS["sync"], "lag_s": lag_s}
        told = status(time=f"2026-01-02T{time}Z", sync=sync, verify={**STATUS["verify"], **verify})
        site.tell(told, site.config)

    tone = "document.querySelector('#hero').dataset.tone"
    show("03:00:00", 0.5, repaired=0)
    browser.open(f"http://127.0.0.1:{site.config.port}/")

    browser.shows("mirror wrong", "#health")
    assert " found images that are wrong: 1 missing, 2 stale (clientsync-supervisor verify " in browser.text(
        "#reason"
    )
    assert browser.evaluate(tone) == "bad"
    show("03:00:01", 0.5, repaired=2)
    browser.shows("1 missing, 2 stale (2 copied again and right since), 50 compared.", "#verify")
    assert browser.evaluate(tone) == "bad"
    show("03:00:02", 0.5, repaired=3)
    browser.shows("all copied again", "#reason")
    assert (browser.text("#health").lower(), browser.evaluate(tone)) == ("healthy", "warn")
    show("02:00:00", 7.5, missing=0, stale=0)
    browser.shows("7.5 s", "#lag-now")
    browser.shows("The mirror follows the source.", "#reason")
    assert browser.evaluate(tone) == "good"
    assert browser.complaints() == []


def test_it_fits_light_and_dark_wide_and_narrow_screens_and_those_who_hear_it(
    served: CommandLine, url: str, browser: Chromium, run: Run
) -> None:
    served = served.having(MONGO_URI=served.settings["MONGO_URI"] + "&appName=" + "long" * 30)
    run(served, "start").healthy()
    grounds = []

    for width, dark in ((1120, False), (360, False), (360, True), (720, True)):
        browser.window(width, 800, dark=dark)
        browser.open(url)
        browser.shows("healthy", "#health")
        browser.shows("generator", "#processes")
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert grounds[0] == grounds[1] != grounds[2] == grounds[3]
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    told = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node}
    assert {("main", ""), ("banner", ""), ("contentinfo", ""), ("navigation", "For programs")} <= told
    assert ("table", "The supervisor and its child processes") in told
    assert ("rowheader", "generator") in {(role, str(name).lstrip("├└ ")) for role, name in told}
    assert [name for role, name in told if role == "image" and str(name).startswith("lag over the last")]
    live = browser.evaluate("[...document.querySelectorAll('[aria-live]')].map(each => each.id)")
    assert live == ["told"]
    assert browser.complaints() == []
