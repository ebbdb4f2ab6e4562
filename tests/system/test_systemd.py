"""The unit file on a real systemd: start, reload, death and stop."""

import fcntl
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.systemd_service import RUNTIME, SETTINGS, STATE, SYNC, UNIT, SystemdService

# The first test waits for an installation from the package index too.
pytestmark = pytest.mark.timeout(300)

MISSPELT = f"SYNC_BATCHSIZE in {SETTINGS}: no such setting; did you mean SYNC_BATCH_SIZE?"
MONGOD_LOCK = "/var/lib/private/clientsync/mongod/lock"
DYNAMIC_USERS = range(61_184, 65_520)


def eventually_later(seconds: float) -> None:
    """Let time pass: the point is that nothing happens."""
    begun_at = time.monotonic()
    eventually(lambda: time.monotonic() - begun_at > seconds, 2 * seconds)


def are_gone(pids: Iterable[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def started_again(service: SystemdService) -> bool:
    return (service.show("NRestarts"), service.show("ActiveState")) == ("1", "active")


# Start


def test_start_returns_when_mirroring_runs(service: SystemdService) -> None:
    service.started()

    assert service.states() == dict.fromkeys(("server", "generator", *SYNC), "running")
    assert "mirror" in service.show("StatusText")
    eventually(lambda: service.mirrored() > 0)
    eventually(lambda: service.show("StatusText") == "at work, mirror live")


def test_it_runs_as_a_user_of_its_own_whose_directories_are_private(service: SystemdService) -> None:
    service.started()

    (user,) = {Path(f"/proc/{pid}").stat().st_uid for pid in service.processes()}
    paths = (STATE, f"{STATE}/mongod/password", RUNTIME, f"{RUNTIME}/default.sock")
    shown = service.machine.run("stat", "--dereference", "--format=%u %a", *paths)
    assert user in DYNAMIC_USERS
    assert shown.out.splitlines() == [f"{user} {mode}" for mode in (700, 600, 700, 600)]


def test_a_start_that_takes_long_is_given_more_time_and_ends_when_mirroring_runs(
    service: SystemdService,
) -> None:
    service.drop_in("TimeoutStartSec=3s")
    service.started()("stop")
    with service.machine.path(MONGOD_LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        service("start", "--no-block")
        eventually_later(5)

        assert service.show("ActiveState") == "activating"
        assert service.show("StatusText") == "server: starting"
    assert service("start").code == 0
    assert set(service.states().values()) == {"running"}


def test_a_start_without_mongodb_ends_says_that_it_waits_and_goes_on_when_it_comes(
    service: SystemdService, tmp_path: Path
) -> None:
    mongod = MongodProcess(tmp_path)
    service.configure(MONGO_URI=mongod.uri)

    service.started()

    assert service.show("StatusText") == f"waiting for MongoDB at {mongod.uri}"
    with mongod:
        eventually(lambda: service.show("StatusText") == "at work, mirror live", 30)
        eventually(lambda: service.mirrored() > 0)
        service("stop")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"SYNC_BATCHSIZE": "10"}, MISSPELT),
        ({"FAKER_BATCH_MIN": "11"}, "FAKER_BATCH_MIN=11 is more than FAKER_BATCH_MAX=10"),
    ],
)
def test_wrong_settings_are_told_and_not_tried_again(
    service: SystemdService, settings: dict[str, str], line: str
) -> None:
    service.configure(**settings)

    assert service("start").code != 0

    assert service.gave_up()
    assert line in service.told()


# Reload


def test_reload_has_applied_a_delay_when_it_returns(service: SystemdService) -> None:
    service.configure(FAKER_FILLING_DELAY_MS="3600000")
    before = service.started().pids()
    service.configure(FAKER_FILLING_DELAY_MS="10")

    assert service("reload").code == 0

    (done,) = service.events("reload_done")
    assert done["message"] == "reload: FAKER_FILLING_DELAY_MS 3600000 -> 10"
    eventually(lambda: service.mirrored() > 20)
    assert service.pids() == before


def test_reload_returns_when_the_children_that_it_restarts_are_at_work_again(service: SystemdService) -> None:
    service.configure(STOP_TIMEOUT_MS="2000")
    before = service.started().pids()
    os.kill(service.process("generator"), signal.SIGSTOP)
    service.configure(STOP_TIMEOUT_MS="2000", FAKER_LOCALE="de_DE")

    assert service("reload").code == 0

    assert set(service.states().values()) == {"running"}
    after = service.pids()
    assert {name for name in before if before[name] != after[name]} == {"generator"}


def test_a_refused_reload_fails_and_the_service_runs_on(service: SystemdService) -> None:
    before = service.started().pids()
    service.configure(SYNC_BATCHSIZE="10")

    assert service("reload").code != 0

    assert [service.show(name) for name in ("SubState", "ReloadResult")] == ["running", "exit-code"]
    assert f"reload refused, the old settings stay: {MISSPELT}" in service.told()
    assert service.pids() == before
    service.configure()
    assert service("reload").code == 0


def test_a_reload_by_signal_is_shown_for_as_long_as_it_takes(service: SystemdService) -> None:
    service.configure(STOP_TIMEOUT_MS="2000")
    service.started()
    generator = service.process("generator")
    os.kill(generator, signal.SIGSTOP)
    service.configure(STOP_TIMEOUT_MS="2000", FAKER_LOCALE="de_DE")

    service("kill", "--signal=HUP", "--kill-who=main")

    eventually(lambda: service.show("SubState") == "reload")
    eventually(lambda: service.show("SubState") == "running")
    assert service.process("generator") != generator
    assert set(service.states().values()) == {"running"}


def test_a_reload_by_signal_that_is_refused_is_over_too(service: SystemdService) -> None:
    before = service.started().pids()
    service.configure(SYNC_BATCHSIZE="10")

    service("kill", "--signal=HUP", "--kill-who=main")

    eventually(lambda: service.events("reload_refused"))
    eventually(lambda: service.show("SubState") == "running", 5)
    assert service.pids() == before


# Death


def test_a_killed_supervisor_is_started_again_and_nothing_of_it_is_left(service: SystemdService) -> None:
    service.started()
    eventually(lambda: service.mirrored() > 0)
    before = service.processes()
    assert len(before) == 7

    service("kill", "--signal=KILL", "--kill-who=main")

    eventually(lambda: started_again(service), 30)
    assert are_gone(before)
    eventually(lambda: service.mirrored() > 0)
    assert service.ask("verify").code == 0


def test_a_stopped_supervisor_is_killed_by_the_watchdog_that_it_had_fed(service: SystemdService) -> None:
    service.drop_in("WatchdogSec=3s", "TimeoutAbortSec=1s")
    before = service.started().processes()
    eventually_later(4)
    assert service.processes() == before

    service("kill", "--signal=STOP", "--kill-who=main")

    eventually(lambda: started_again(service), 30)
    assert any("Watchdog timeout" in line for line in service.told())
    assert are_gone(before)
    eventually(lambda: service.mirrored() > 0)


# Stop


def test_stop_is_orderly_and_leaves_nothing(service: SystemdService) -> None:
    service.started()
    eventually(lambda: service.mirrored() > 0)

    assert service("stop").code == 0

    assert service.show("ActiveState") == "inactive"
    assert service.processes() == {}
    ended = service.events("child_ended")
    assert {line["cause"] for line in ended} == {"exit code 0"}
    assert ended[-1]["child"] == "server"
    assert service.events("stopped")[0]["exit_code"] == 0
    assert f"{UNIT}: Deactivated successfully." in service.told()


def test_a_stop_that_takes_long_is_given_more_time(service: SystemdService) -> None:
    service.drop_in("TimeoutStopSec=2s")
    service.configure(STOP_TIMEOUT_MS="4000")
    service.started()
    os.kill(service.process("writer"), signal.SIGSTOP)

    assert service("stop").code == 0

    ended = {line["child"]: line["cause"] for line in service.events("child_ended")}
    assert (ended["writer"], ended["server"]) == ("SIGKILL", "exit code 0")
    assert f"{UNIT}: Deactivated successfully." in service.told()
