"""`reload` and SIGHUP: a right `.env` comes into force, a wrong one changes nothing."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


@pytest.fixture
def by_file(connected: CommandLine) -> CommandLine:
    """A command line whose settings stand in a `.env` file, so that they can change."""
    write(connected, **connected.settings)
    return replace(connected, settings={})


def write(cli: CommandLine, **settings: str) -> None:
    """Set these in the `.env` file, at once."""
    file, fresh = cli.directory / ".env", cli.directory / "fresh.env"
    before = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in before if line.partition("=")[0] not in settings]
    fresh.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items())]) + "\n")
    fresh.rename(file)


def test_delays_batch_sizes_flushes_and_log_level_apply_without_a_restart(
    by_file: CommandLine, source: Customers, run: Run
) -> None:
    write(by_file, FAKER_FILLING_DELAY_MS="3600000")
    daemon = run(by_file, "start")
    daemon.healthy()
    before = daemon.pids()

    write(
        by_file,
        FAKER_FILLING_DELAY_MS="10",
        FAKER_BATCH_MAX="20",
        SYNC_BATCH_SIZE="10",
        SYNC_FLUSH_MS="50",
        LOG_LEVEL="DEBUG",
    )
    reloaded = daemon.ask("reload")

    assert reloaded.code == 0
    assert "FAKER_FILLING_DELAY_MS 3600000 -> 10" in reloaded.out
    assert {record["message"] for record in daemon.events("setting_changed")} >= {
        "reload: FAKER_FILLING_DELAY_MS 3600000 -> 10",
        "reload: SYNC_FLUSH_MS 1000 -> 50",
        "reload: LOG_LEVEL INFO -> DEBUG",
    }
    eventually(lambda: source.count_documents({}) > 50)
    assert daemon.pids() == before


def test_an_idle_child_rests_and_is_not_taken_for_hung_when_a_reload_allows_it_less_silence(
    by_file: CommandLine, run: Run
) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    before = daemon.pids()
    silent_for_longer_than(2, daemon, "writer")

    write(by_file, HANG_TIMEOUT_MS="2000")
    reloaded = daemon.ask("reload")

    assert reloaded.code == 0
    work = daemon.child("writer")["work"]
    eventually(lambda: daemon.child("writer")["work"] >= work + 3, message="a beat a second")
    assert (daemon.pids(), daemon.events("child_hangs")) == (before, [])


def silent_for_longer_than(seconds: float, daemon: DaemonProcess, child: str) -> None:
    """Wait until a child has told nothing for so long."""
    heard = [daemon.child(child)["work"], time.monotonic()]

    def is_silent() -> bool:
        work, now = daemon.child(child)["work"], time.monotonic()
        if work != heard[0]:
            heard[:] = work, now
        return now - heard[1] > seconds

    eventually(is_silent, message=f"{child} rests")


def test_what_cannot_be_taken_live_restarts_only_whom_it_concerns(
    by_file: CommandLine, source: Customers, run: Run
) -> None:
    daemon = run(by_file, "start")
    daemon.healthy()
    before = daemon.pids()

    write(by_file, FAKER_LOCALE="ja_JP")
    reloaded = daemon.ask("reload")

    after = daemon.pids()
    assert (reloaded.code, reloaded.out) == (0, "FAKER_LOCALE en_US -> ja_JP; restarted: generator\n")
    assert {name for name in before if before[name] != after[name]} == {"generator"}
    assert daemon.healthy()["deaths"] == []
    assert {child["restarts"] for child in daemon.status()["children"]} == {0}
    eventually(lambda: source.find_one({"firstName": {"$regex": "^[^a-zA-Z]+$"}}), message="a Japanese name")


def test_r6_a_new_key_rewrites_the_mirror_and_is_never_shown(
    by_file: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    key = "not-to-be-seen-by-anybody"
    source.insert_one(customer(1))
    daemon = run(replace(by_file, secrets=(key,)), "start", "sync")
    daemon.healthy()
    eventually(lambda: mirror.find_one({"_id": 1}))
    before = mirror.find_one({"_id": 1})

    write(by_file, ANON_KEY=key)
    reloaded = daemon.ask("reload")

    assert (reloaded.code, reloaded.out) == (0, "ANON_KEY changed; restarted: sync\n")
    eventually(lambda: mirror.find_one({"_id": 1}) != before)
    assert daemon.wait_for("policy_changed")


def test_a_wrong_file_is_refused_by_name_and_the_old_settings_go_on(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    before = daemon.pids()

    write(by_file, SYNC_BATCHSIZE="5", SYNC_FLUSH_MS="soon")
    refused = daemon.ask("reload")

    assert refused.code == 1
    assert refused.line.startswith("reload refused, the old settings stay: ")
    assert "SYNC_BATCHSIZE" in refused.line
    assert "did you mean SYNC_BATCH_SIZE?" in refused.line
    assert "SYNC_FLUSH_MS='soon'" in refused.line
    assert daemon.pids() == before
    assert daemon.healthy()


def test_a_file_that_is_gone_or_right_again_is_read_the_next_time(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    write(by_file, SYNC_FLUSH_MS="soon")
    assert daemon.ask("reload").code == 1

    write(by_file, SYNC_FLUSH_MS="20")

    assert daemon.ask("reload").out == "SYNC_FLUSH_MS 1000 -> 20\n"


def test_sighup_does_the_same_and_the_log_tells(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    write(by_file, SYNC_FLUSH_MS="50")

    daemon.send(signal.SIGHUP)

    assert daemon.wait_for("reload_done")["message"] == "reload: SYNC_FLUSH_MS 1000 -> 50"


def test_a_value_of_the_process_environment_wins_over_the_file(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file.having(SYNC_FLUSH_MS="70"), "start", "sync")
    daemon.healthy()

    write(by_file, SYNC_FLUSH_MS="50")

    assert daemon.ask("reload").out == "nothing changed\n"


def test_the_file_is_never_loaded_into_the_environment(by_file: CommandLine, run: Run) -> None:
    write(by_file, FAKER_SEED="12345")
    daemon = run(by_file, "start", "app")
    daemon.healthy()

    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in daemon.processes()]

    assert len(environments) == 2
    assert all(b"FAKER_SEED" not in environment for environment in environments)


def test_what_has_to_wait_for_the_next_start_is_said(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()

    write(by_file, LOG_FORMAT="console")

    assert daemon.ask("reload").out == "nothing changed; at the next start: LOG_FORMAT (none) -> console\n"


def test_a_stop_during_a_reload_stops(by_file: CommandLine, run: Run) -> None:
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    write(by_file, ANON_LENGTH="16")

    daemon.send(signal.SIGHUP)
    daemon.wait_for("setting_changed")
    daemon.send(signal.SIGTERM)

    assert daemon.wait() == 0
    assert daemon.processes() == {}


def test_a_stop_is_sticky_a_reload_after_it_changes_nothing(by_file: CommandLine, run: Run) -> None:
    write(by_file, STOP_TIMEOUT_MS="1000")
    daemon = run(by_file, "start", "sync")
    daemon.healthy()
    os.kill(daemon.pids()["writer"], signal.SIGSTOP)

    daemon.send(signal.SIGTERM)
    daemon.wait_for("stopping")
    daemon.send(signal.SIGHUP)

    assert daemon.wait() == 0
