"""The search for canaries finds one wherever it is planted: without that, zero hits would prove nothing."""

from collections.abc import Callable

import pytest
from bson import encode
from pymongo import MongoClient

from procs import state
from procs.config import Database
from tests.eventually import eventually
from tests.system.canaries import KINDS, Aviary, Flock, Places
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer

PRINTS = """
import sys, time
print(sys.argv[1], flush=True)
print(sys.argv[2], file=sys.stderr, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_any_kind_is_found_in_bson(kind: str) -> None:
    flock, other = Flock(), Flock()

    document = encode(
        {"firstName": [flock.value(kind, "firstName")], "lastName": other.value(kind, "lastName")}
    )

    assert flock.found_in({"mirror": document}) != []
    assert {found.split(":")[0] for found in flock.found_in({"mirror": document})} == {f"{kind} in firstName"}
    assert flock.found_in({"mirror": encode({"firstName": other.value(kind, "firstName")})}) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_any_kind_is_found_where_python_shows_it(kind: str) -> None:
    flock = Flock()
    value = flock.value(kind, "firstName")

    shown = repr(value).encode() if kind != "date" else value.isoformat().encode()

    assert flock.found_in({"log": shown}) != []


@pytest.mark.parametrize("place", ["default.out", "default.err", "state/default.deaths.jsonl", "core"])
def test_a_canary_in_any_file_is_found(command: CommandLine, database: Database, place: str) -> None:
    flock, places = Flock(), Places(command, database)
    path = command.directory / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"… {flock.word('firstName')} …")

    found = flock.found_in(places.shown())

    assert found == [f"firstName: {place}"]


def test_a_canary_in_mirror_or_state_is_found(
    command: CommandLine, database: Database, client: MongoClient[Customer]
) -> None:
    flock, places = Flock(), Places(command, database)
    client[database.name][database.mirror].insert_one({"a": [{"b": flock.word("in mirror")}]})
    client[database.name][state.NAME].insert_one({"_id": {"id": flock.word("in state")}})

    found = flock.found_in(places.mirror() | places.state())

    assert found == ["in mirror: customers_anonymised 0", "in state: clientsync_state 0"]


def test_a_canary_in_output_title_or_environment_is_found(
    command: CommandLine, database: Database, run: Callable[..., DaemonProcess]
) -> None:
    aviary = Aviary()
    title, variable = aviary.secrets.word("title"), aviary.secrets.word("variable")
    cli = CommandLine(command.directory, {"ANON_KEY": variable}, command=("python3", "-c", PRINTS, title))
    places = Places(cli, database)
    process = run(cli, title)
    eventually(lambda: process.told() != "")

    places.keep(process)

    found = {each.split(" #")[0] for each in aviary.secrets.found_in(places.shown())}
    assert found == {
        f"title: {process.pid} cmdline",
        f"variable: {process.pid} environ",
        "title: default.out",
        "title: default.err",
    }


def test_a_canary_that_a_command_prints_is_found(command: CommandLine, database: Database) -> None:
    flock = Flock()
    places = Places(CommandLine(command.directory, command=("echo", flock.word("said"))), database)

    places.ask("status")

    assert flock.found_in(places.shown()) == ["said: status #0"]


def test_aviary_sorts_what_may_be_where() -> None:
    aviary = Aviary()

    carried = aviary.customers(unknown_is_carried=True)
    hidden = aviary.customers(unknown_is_carried=False)

    whole = {str(number): encode(each) for number, each in enumerate(carried)}
    assert {found.split(":")[0] for found in aviary.carried.found_in(whole)} >= {"_id", "text in notes"}
    assert "text in notes" in {
        found.split(":")[0] for found in aviary.sensitive.found_in({"": b"".join(map(encode, hidden))})
    }
