"""A MongoDB that cannot be reached yet, or no more: waited for, which is said once, and gone on with."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongod_process import MongodProcess, free_port
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Client = MongoClient[dict[str, Any]]
Run = Callable[..., DaemonProcess]


def outages(daemon: DaemonProcess) -> list[str]:
    """Return the log's lines about an outage and its end, in order."""
    told = {"mongodb_unreachable": "gone", "mongodb_reachable": "back"}
    return [told[record["event"]] for record in daemon.records() if record["event"] in told]


def assert_waits(daemon: DaemonProcess) -> None:
    """Wait until the daemon waits; fail unless `status` tells why, and no child has ended."""
    reason = "MongoDB cannot be reached"
    eventually(lambda: daemon.status().get("reason") == reason, 30, reason)
    asked = daemon.ask("status")
    assert asked.code == 1
    assert asked.out.startswith(f"waiting: {reason} (")
    assert [child["restarts"] for child in daemon.status()["children"]] == [0] * len(daemon.pids())


def test_it_waits_for_a_server_that_comes_goes_and_comes_again(
    command: CommandLine, run: Run, tmp_path: Path
) -> None:
    server = MongodProcess(tmp_path / "mongod", port=free_port())
    daemon = run(command.having(MONGO_URI=server.uri, MONGO_DB="shop"), "start", "sync")
    assert_waits(daemon)
    told = daemon.wait_for("mongodb_unreachable")
    assert told["message"] == (
        f"MongoDB cannot be reached at {server.uri}: waiting for it; `clientsync-supervisor check` says why"
    )

    for round_ in range(2):
        with server, Client(server.uri, timeoutMS=10_000) as client:
            daemon.healthy()
            client.shop.customers.insert_one(customer(round_))
            eventually(partial(are_twins, client.shop.customers, client.shop.customers_anonymised))
            daemon.wait_for("mongodb_reachable")
            assert outages(daemon) == ["gone", "back"] * (round_ + 1)
        assert_waits(daemon)

    assert outages(daemon) == ["gone", "back", "gone", "back", "gone"]
    assert daemon.ask("stop").code == 0


@pytest.mark.parametrize("query", ["", "?replicaSet=rs"], ids=["plain", "named"])
def test_it_waits_for_a_replica_set_to_be_initiated(
    command: CommandLine, run: Run, tmp_path: Path, query: str
) -> None:
    with MongodProcess(tmp_path / "mongod", "--replSet", "rs", replica_set=None) as server:
        cli = command.having(MONGO_URI=f"mongodb://{server.address}/{query}")
        checked = cli("check")
        daemon = run(cli, "start")
        assert_waits(daemon)

        with Client(server.address, directConnection=True, timeoutMS=10_000) as client:
            members = [{"_id": 0, "host": server.address}]
            client.admin.command("replSetInitiate", {"_id": "rs", "members": members})

        daemon.healthy()
        assert outages(daemon) == ["gone", "back"]
        assert checked.code == 1
        assert checked.out.splitlines()[-1].endswith("is the server running, and its replica set initiated?")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("mongodb://127.0.0.1:1/", ["connection refused; is the server running?"]),
        (
            "mongodb+srv://clientsync.invalid/",
            ["unknown host name; correct it", "host names cannot be looked up; is there a DNS?"],
        ),
    ],
    ids=["port", "name"],
)
def test_it_waits_for_an_address_to_answer_and_check_tells_why_it_does_not(
    command: CommandLine, run: Run, uri: str, why: list[str]
) -> None:
    cli = command.having(MONGO_URI=uri)
    daemon = run(cli, "start")
    assert_waits(daemon)

    checked, verified = cli("check"), cli("verify")

    lines = [f"MONGO_URI: no primary answers: {each}" for each in why]
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1].removeprefix("WRONG  server           ") in lines
    assert (verified.code, verified.out) == (1, "")
    assert verified.line in lines
    assert outages(daemon) == ["gone"]


def test_tls_to_a_server_without_it_is_told(command: CommandLine, mongod: str) -> None:
    checked = command.having(MONGO_URI=f"{mongod}&tls=true")("check")

    assert checked.code == 1
    assert "MONGO_URI: no primary answers: TLS fails; compare its options tls" in checked.out


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, MongodProcess]]:
    """A replica set of a primary, a secondary, and one that is hidden."""
    servers = {
        name: MongodProcess(tmp_path_factory.mktemp(name), "--replSet", "rs", replica_set=None)
        for name in ("primary", "secondary", "hidden")
    }
    with servers["primary"] as primary, servers["secondary"], servers["hidden"]:
        with Client(primary.address, directConnection=True, timeoutMS=30_000) as client:
            roles: list[dict[str, Any]] = [{}, {"priority": 0.1}, {"priority": 0, "hidden": True}]
            for number, (server, role) in enumerate(zip(servers.values(), roles, strict=True)):
                role |= {"_id": number, "host": server.address}
            client.admin.command("replSetInitiate", {"_id": "rs", "members": roles})
            eventually(lambda: are_up(client), 60, "a primary and two secondaries")
        yield servers


def are_up(client: Client) -> bool:
    states = [member["stateStr"] for member in client.admin.command("replSetGetStatus")["members"]]
    return states == ["PRIMARY", "SECONDARY", "SECONDARY"]


@pytest.mark.parametrize("member", ["secondary", "hidden"])
def test_the_primary_is_found_by_way_of_any_member(
    command: CommandLine, members: dict[str, MongodProcess], run: Run, member: str
) -> None:
    cli = command.having(MONGO_URI=f"mongodb://{members[member].address}/", MONGO_DB=f"by_{member}")

    assert cli("check").code == 0
    assert run(cli, "start").healthy()


def test_a_direct_connection_to_a_secondary_waits_for_it_to_become_the_primary(
    command: CommandLine, members: dict[str, MongodProcess], run: Run
) -> None:
    cli = command.having(MONGO_URI=f"mongodb://{members['secondary'].address}/?directConnection=true")

    daemon = run(cli, "start")

    assert_waits(daemon)
    checked = cli("check")
    assert checked.code == 1
    assert checked.out.splitlines()[-1].startswith("WRONG  replica set      MONGO_URI: no primary answers")


def test_a_direct_connection_to_a_member_that_never_is_the_primary_is_refused(
    command: CommandLine, members: dict[str, MongodProcess], run: Run
) -> None:
    cli = command.having(MONGO_URI=f"mongodb://{members['hidden'].address}/?directConnection=true")
    line = (
        "MONGO_URI: directConnection leads to a member that never is the primary; "
        "remove directConnection, so that the primary is found"
    )

    checked = cli("check")
    daemon = run(cli, "start", "sync")

    assert checked.code == 1
    assert checked.out.splitlines()[-1].endswith(f" {line}")
    assert daemon.wait() == 78
    assert [record["message"] for record in daemon.events("giving_up")] == [f"listener: {line}"]
