"""What `status` and the log tell, and to whom."""

import contextlib
import json
import socket
import stat
import threading
from collections.abc import Callable
from datetime import datetime

from pymongo.collection import Collection

from supervisor.control import MAX_CLIENTS
from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, are_twins, customer

Customers = Collection[Customer]
Run = Callable[..., DaemonProcess]


def test_json_has_what_the_contract_promises(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start")
    status = daemon.healthy()

    assert status["version"] == 2
    assert status["instance"] == "default"
    assert status["pid"] == daemon.pid
    assert status["mongo_uri"] == connected.settings["MONGO_URI"]
    for child in status["children"]:
        assert {"name", "pid", "state", "restarts", "uptime_s"} <= child.keys()
        assert child["state"] == "running"
    assert {"phase", "pending", "lag_ms", "mirrored_total"} <= status["sync"].keys()
    assert status["sync"]["phase"] == "live"


def test_exit_codes_tell_healthy_not_yet_and_not_running(connected: CommandLine, run: Run) -> None:
    assert connected("status").code == 3

    waiting = run(connected.having(MONGO_URI="mongodb://127.0.0.1:1"), "start", "sync")
    eventually(lambda: waiting.status().get("reason") == "MongoDB cannot be reached")
    assert connected("status").code == 1
    assert connected("stop").code == 0

    run(connected, "start", "sync").healthy()
    assert connected("status").code == 0


def test_it_is_healthy_once_all_that_was_there_is_mirrored_and_not_before(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(3_000)])

    daemon = run(connected.having(SYNC_BATCH_SIZE="5"), "start", "sync")

    status = eventually(daemon.status)
    assert not status["healthy"]
    assert "starting" in status["reason"] or "not up to date yet" in status["reason"]
    daemon.healthy()
    assert are_twins(source, mirror)


def test_r2_it_is_not_healthy_while_it_catches_up_with_what_happened_when_it_was_down(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.insert_one(customer(-1))
    run(connected, "start", "sync").healthy()
    assert connected("stop").code == 0
    source.insert_many([customer(each) for each in range(40_000)])

    daemon = run(connected.having(SYNC_BATCH_SIZE="500"), "start", "sync")

    eventually(lambda: "catching up" in daemon.status().get("reason", ""))
    daemon.healthy()
    assert mirror.estimated_document_count() > 20_000  # what is left is pending in the pipes


def test_a_daemon_with_too_many_clients_says_so(connected: CommandLine, run: Run) -> None:
    run(connected, "start", "sync").healthy()
    with contextlib.ExitStack() as clients:
        for _ in range(MAX_CLIENTS + 5):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(connected.state_dir / "default.sock"))

        refused = connected("stop")

    assert (refused.code, refused.line) == (1, "instance 'default': too many clients")


def test_people_get_a_table_of_plain_text_where_it_is_piped(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start", "sync")
    daemon.healthy()
    eventually(lambda: daemon.status()["sync"]["pending"] == 0)  # told once a second
    pids = daemon.pids()

    shown = daemon.ask("status").out.splitlines()

    assert shown[0] == "healthy"
    assert shown[1].startswith(f"daemon   default (pid {daemon.pid}), clientsync ")
    assert shown[2] == f"MongoDB  {connected.settings['MONGO_URI']}"
    assert shown[3].startswith("mirror   live: 0 pending, ")
    assert "\x1b" not in "".join(shown)
    header = next(number for number, line in enumerate(shown) if line.startswith("child "))
    rows = {line.split()[0]: line.split() for line in shown[header + 1 :]}
    assert {name: int(row[2]) for name, row in rows.items()} == pids


def test_a_daemon_of_another_release_is_shown_to_programs_and_else_said_to_be_one(
    connected: CommandLine,
) -> None:
    connected.state_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as older:
        older.bind(str(connected.state_dir / "default.sock"))
        older.listen()

        def answer() -> None:
            for _ in range(2):
                with older.accept()[0] as asker:
                    asker.makefile().readline()
                    asker.sendall(b'{"version": 1, "clientsync": "0.0.9", "healthy": true}\n')

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        for_people, for_programs = connected("status"), connected("status", "--json")
        answering.join(10)

    assert (for_people.code, for_people.line) == (
        1,
        "the daemon is clientsync 0.0.9, whose status is another one: restart it, or see --json",
    )
    assert json.loads(for_programs.out)["version"] == 1


def test_customers_that_the_mirror_refuses_are_counted(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    mirror.database.create_collection(mirror.name, validator={"lastName": {"$exists": True}})
    source.insert_many([customer(1), {"_id": 2, "firstName": "nameless"}])

    daemon = run(connected, "start", "sync")
    daemon.healthy()

    eventually(lambda: daemon.status()["sync"]["unmirrorable"] == 1)
    assert ", 1 left out (unmirrorable)" in daemon.ask("status").out.splitlines()[3]
    assert mirror.find_one({"_id": 1})


def test_the_control_socket_and_the_files_are_the_owners_alone(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start", "sync")
    daemon.healthy()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in connected.state_dir.iterdir()}

    assert stat.S_IMODE(connected.state_dir.stat().st_mode) == 0o700
    assert modes["default.sock"] == 0o600
    assert set(modes.values()) == {0o600}


def test_each_log_line_is_one_json_object_with_the_fixed_fields(connected: CommandLine, run: Run) -> None:
    daemon = run(connected, "start")
    daemon.healthy()
    daemon.ask("stop")

    lines = daemon.log.read_text().splitlines()

    for line in lines:
        record = json.loads(line)
        assert list(record)[:7] == ["time", "level", "name", "process", "instance", "event", "message"]
        assert datetime.fromisoformat(record["time"]).tzinfo is not None
        assert record["event"], record
    processes = {json.loads(line)["process"] for line in lines}
    assert {"supervisor", "listener", "scanner"} <= processes


def test_r6_no_output_at_debug_shows_a_customer(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    canary = "Zqxcanary"
    source.insert_many([customer(each, canary) for each in range(20)])
    daemon = run(connected, "start", "sync", "--dev")
    eventually(lambda: mirror.count_documents({}) == 20)
    source.update_many({}, {"$set": {"lastName": canary}})
    source.insert_one(customer("twin", canary))
    eventually(lambda: mirror.find_one({"_id": "twin"}))

    told = daemon.ask("status", "--json").out + daemon.ask("verify").out
    assert daemon.ask("stop").code == 0

    states = json.dumps(list(source.database["clientsync_state"].find()), default=str)
    images = json.dumps(list(mirror.find()), default=str)
    written = "".join(path.read_text() for path in connected.directory.rglob("*") if path.is_file())
    assert canary.lower() not in (told + states + images + written).lower()
