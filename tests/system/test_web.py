"""What a real daemon tells scrapers and probes, and how little they can do to it."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo.collection import Collection

from procs.httpd import CONNECTIONS
from tests.eventually import eventually
from tests.mongod_process import MongodProcess, free_port
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer
from tests.system.web_client import get, metric

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]
PATHS = ("/", "/metrics", "/healthz", "/readyz", "/status.json", "/history.json", "/none")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(connected: CommandLine, port: int) -> CommandLine:
    """The command line of a daemon that serves at `port`; its settings stand in a `.env` file."""
    cli = replace(connected, settings={})
    write(cli, **connected.settings, METRICS_ADDR=str(port))
    return cli


def write(cli: CommandLine, **settings: str) -> None:
    """Set these in the `.env` file."""
    file = cli.directory / ".env"
    before = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in before if line.partition("=")[0] not in settings]
    file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items())]) + "\n")


def listening(daemon: DaemonProcess) -> set[str]:
    """Return the TCP sockets on which the daemon or a child of it listens."""
    tables = [Path(f"/proc/{daemon.pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    open_ = {
        str(descriptor.readlink())
        for pid in daemon.processes()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if descriptor.is_symlink()
    }
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_}


def test_nothing_listens_unless_it_was_asked_for(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start", "sync")
    daemon.healthy()

    assert "web" not in daemon.pids()
    assert listening(daemon) == set()


def test_a_port_alone_is_open_to_this_machine_alone(served: CommandLine, port: int, run: Run) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()

    assert listening(daemon) == {f"0100007F:{port:04X}"}
    assert get(port, "/healthz") == (200, "ok\n")
    eventually(lambda: get(port, "/readyz") == (200, "ready\n"))


def test_metrics_move_when_customers_change(
    served: CommandLine, source: Customers, port: int, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(20)])
    run(served, "start", "sync").healthy()
    eventually(lambda: metric(port, "customers_mirrored_total", result="inserted") == 20)

    source.update_many({}, {"$set": {"firstName": "Jane"}})
    source.delete_one({"_id": 1})

    eventually(lambda: metric(port, "customers_mirrored_total", result="deleted") == 1)
    eventually(lambda: metric(port, "customers_mirrored_total", result="replaced") == 19)
    eventually(lambda: metric(port, "lag_seconds") == 0)
    eventually(lambda: (metric(port, "stream_events_total", kind="change") or 0) >= 21)
    eventually(lambda: (metric(port, "transactions_total", child="writer") or 0) >= 1)
    assert metric(port, "active_instances") == metric(port, "lease_held") == 1


def test_a_restart_is_counted_by_child_and_cause_and_is_nobody_elses(
    served: CommandLine, port: int, run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    before = daemon.pids()

    os.kill(before["writer"], signal.SIGKILL)
    eventually(lambda: metric(port, "child_restarts_total", child="writer", cause="SIGKILL") == 1)
    os.kill(before["web"], signal.SIGKILL)
    eventually(lambda: metric(port, "child_restarts_total", child="web", cause="SIGKILL") == 1)

    assert metric(port, "child_restarts_total") == 2
    daemon.healthy()
    assert daemon.child("listener")["restarts"] == 0


def test_it_is_not_ready_while_mongodb_is_away_and_says_so(
    command: CommandLine, tmp_path: Path, port: int, run: Run
) -> None:
    with MongodProcess(tmp_path / "mongod", cache_gb=0.25, oplog_mb=16) as mongod:
        run(command.having(MONGO_URI=mongod.uri, METRICS_ADDR=str(port)), "start", "sync").healthy()
        eventually(lambda: get(port, "/readyz").code == 200)

        mongod.kill()
        eventually(lambda: get(port, "/readyz") == (503, "MongoDB cannot be reached\n"), 30)
        assert get(port, "/healthz").code == 200
        assert metric(port, "healthy") == metric(port, "ready") == 0

        mongod.start()
        eventually(lambda: get(port, "/readyz").code == 200, 30)


def test_it_is_ready_again_once_the_lag_is_below_the_setting_which_applies_live(
    served: CommandLine, source: Customers, port: int, run: Run
) -> None:
    write(served, SYNC_FLUSH_MS="3600000", READY_MAX_LAG_MS="500")
    source.insert_one(customer(0))
    daemon = run(served, "start", "sync")
    daemon.healthy()
    source.insert_one(customer(1))

    eventually(lambda: "behind, more than 0.5 s" in get(port, "/readyz").text)
    assert get(port, "/readyz").code == 503
    before = daemon.pids()
    write(served, READY_MAX_LAG_MS="3600000")
    assert daemon.ask("reload").out == "READY_MAX_LAG_MS 500 -> 3600000\n"

    eventually(lambda: get(port, "/readyz").code == 200)
    assert (metric(port, "lag_seconds") or 0) > 0.5
    assert daemon.pids() == before


def test_a_stopped_supervisor_is_told_as_such(served: CommandLine, port: int, run: Run) -> None:
    daemon = run(served, "start", "app")
    daemon.healthy()
    eventually(lambda: get(port, "/healthz").code == 200)

    daemon.send(signal.SIGSTOP)

    eventually(lambda: "the supervisor has been silent for" in get(port, "/healthz").text)
    assert metric(port, "healthy") == 0
    daemon.send(signal.SIGCONT)
    eventually(lambda: get(port, "/healthz").code == 200)


def test_clients_that_say_little_or_do_not_read_disturb_nobody(
    served: CommandLine, port: int, run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    before = daemon.pids()

    with ExitStack() as clients:
        for number in range(3 * CONNECTIONS):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else b"GET /metr")

            assert get(port, "/healthz") == (200, "ok\n")

    assert daemon.healthy()["deaths"] == []
    assert daemon.pids() == before
    assert daemon.told() == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "nowhere.invalid"])
def test_an_address_that_cannot_be_had_is_one_line_and_permanent(connected: CommandLine, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = connected.having(METRICS_ADDR=f"{host}:{port}")("start", "sync")

    assert refused.code == 78
    assert refused.line.startswith(f"METRICS_ADDR: cannot listen at {host} port {port}: ")
    assert refused.out == ""


def test_a_reload_with_another_address_restarts_only_the_web_child(
    served: CommandLine, port: int, run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    before, other = daemon.pids(), free_port()

    write(served, METRICS_ADDR=f"127.0.0.1:{other}")
    reloaded = daemon.ask("reload")

    assert reloaded.out == f"METRICS_ADDR {port} -> 127.0.0.1:{other}; restarted: web\n"
    assert get(other, "/healthz").code
    assert get(port, "/healthz") == (0, "ConnectionRefusedError")
    after = daemon.pids()
    assert {name for name in before if before[name] != after[name]} == {"web"}
    write(served, METRICS_ADDR="")
    assert daemon.ask("reload").code == 0
    eventually(lambda: "web" not in daemon.pids())
    assert daemon.healthy()["deaths"] == []


def test_a_reload_with_an_address_that_is_taken_changes_nothing(
    served: CommandLine, port: int, run: Run
) -> None:
    daemon = run(served, "start", "sync")
    daemon.healthy()
    before = daemon.pids()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        write(served, METRICS_ADDR=str(taken.getsockname()[1]))
        refused = daemon.ask("reload")

    assert refused.code == 1
    assert refused.line.startswith("reload refused, the old settings stay: METRICS_ADDR: cannot listen at ")
    assert daemon.pids() == before
    assert get(port, "/healthz").code == 200


def test_r6_no_answer_shows_a_customer(
    served: CommandLine, source: Customers, mirror: Customers, port: int, run: Run
) -> None:
    canary = "Zqxcanary"
    mirror.database.create_collection(mirror.name, validator={"lastName": {"$exists": True}})
    source.insert_many(
        [*(customer(each, canary) for each in range(20)), {"_id": canary, "firstName": canary}]
    )
    daemon = run(served, "start", "sync")
    daemon.healthy()
    source.update_many({}, {"$set": {"address.line1": canary}})
    os.kill(daemon.pids()["writer"], signal.SIGKILL)
    eventually(lambda: metric(port, "unmirrorable_customers") == 1)
    daemon.healthy()

    told = {path: get(port, path) for path in PATHS}

    assert all(got.code and got.text for got in told.values())
    assert canary.lower() not in str(told).lower()


def test_check_tells_whether_the_address_can_be_had_except_by_a_daemon_that_has_it(
    served: CommandLine, port: int, run: Run
) -> None:
    free = served("check")
    with socket.create_server(("127.0.0.1", port)):
        taken = served("check")
    run(served, "start", "sync").healthy()
    held = served("check")

    assert f"ok     metrics address  http://127.0.0.1:{port}/\n" in free.out
    assert taken.code == 1
    assert f"WRONG  metrics address  METRICS_ADDR: cannot listen at 127.0.0.1 port {port}: " in taken.out
    assert (held.code, "metrics address" in held.out) == (0, False)
