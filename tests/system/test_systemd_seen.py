"""The unit file on a real systemd: what is seen of it, and what must not be seen."""

import hmac
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.mongod_process import MongodProcess
from tests.system.command_line import Ended
from tests.system.systemd_service import EXTERNAL, SYNC, UNIT, UNIT_FILE, SystemdService, commands_in_head
from tests.system.twins import Customer, customer

# The first test waits for an installation from the package index too.
pytestmark = pytest.mark.timeout(300)

KEY = "a key that nobody sees"
PASSWORD, WRONG_PASSWORD = "nobody-sees-this", "nor-this"
EXAMPLE_URI = "mongodb://user:password@host/?replicaSet=rs0"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[MongodProcess]:
    """A MongoDB that asks for a password."""
    with MongodProcess(tmp_path, user="clientsync", password=PASSWORD) as mongod:
        yield mongod


def install_external(service: SystemdService, uri: str) -> Ended:
    """Follow the head of external-mongodb.conf."""
    (commands,) = commands_in_head(EXTERNAL)
    assert EXAMPLE_URI in commands
    return service.machine.follow(commands.replace(EXAMPLE_URI, uri))


def everything_seen(service: SystemdService) -> str:
    """Return all that the journal, systemd, /proc and our status show of the service."""
    run = service.machine.run
    service.machine.run("journalctl", "--sync")
    shown = [run("journalctl", "--output=export", "--all"), service("cat"), service.ask("status", "--json")]
    shown += [service("status", "--lines=1000", "--full"), service("show", "--all")]
    texts = [ended.out + ended.err for ended in shown]
    for pid in service.processes():
        texts += [Path(f"/proc/{pid}/{file}").read_bytes().decode() for file in ("cmdline", "environ")]
    return "\n".join(texts)


def test_the_journal_holds_one_json_object_a_line(service: SystemdService) -> None:
    service.started()
    eventually(lambda: service.mirrored() > 0)
    service("stop")

    lines = [json.loads(each["MESSAGE"]) for each in service.journal() if each["_TRANSPORT"] == "stdout"]

    assert {line["process"] for line in lines} >= {"supervisor", "server", "listener", "scanner"}
    for line in lines:
        assert line.keys() >= {"time", "level", "name", "process", "instance", "event", "message"}


def test_status_is_asked_for_as_the_unit_file_says(service: SystemdService) -> None:
    service.started()
    eventually(lambda: service.status()["healthy"])

    shown = service.machine.follow(commands_in_head(UNIT_FILE)[1])

    assert shown.code == 0
    assert "default" in shown.out.splitlines()[0]
    assert ": healthy" in shown.out.splitlines()[0]


def test_secrets_come_from_credentials_and_are_never_shown(
    guarded: MongodProcess, service: SystemdService
) -> None:
    service.configure(LOG_LEVEL="DEBUG")
    service.machine.follow(f"install -m 600 /dev/stdin /etc/clientsync/anon-key <<<'{KEY}'")
    service.drop_in(*(line[1:] for line in UNIT_FILE.read_text().splitlines() if "anon-key" in line))

    installed = install_external(service, guarded.uri)

    assert installed.code == 0
    assert set(service.pids()) == set(SYNC)
    with MongoClient[Customer](guarded.uri) as client:
        database = client["clientsync"]
        database["customers"].insert_one(customer(1, "John"))
        (image,) = eventually(lambda: list(database["customers_anonymised"].find()))
    assert image["firstName"] == hmac.new(KEY.encode(), b"John", "sha256").hexdigest()[:8]
    assert service("reload").code == 0
    seen = everything_seen(service)
    assert guarded.address in seen
    assert PASSWORD not in seen
    assert KEY not in seen


def test_a_wrong_password_is_told_without_it_and_not_tried_again(
    guarded: MongodProcess, service: SystemdService
) -> None:
    assert install_external(service, guarded.uri.replace(PASSWORD, WRONG_PASSWORD)).code != 0

    assert service.gave_up()
    (line,) = service.events("giving_up")
    assert "the server refused user or password" in line["message"]
    assert WRONG_PASSWORD not in everything_seen(service)


# The unit file


@pytest.mark.parametrize("external", [False, True])
def test_systemd_finds_nothing_wrong_with_the_unit(service: SystemdService, external: bool) -> None:
    if external:
        service.drop_in(EXTERNAL.read_text())

    verdict = service.machine.run("systemd-analyze", "verify", UNIT)

    assert verdict == Ended(0, "", "")


@pytest.mark.parametrize(("external", "at_most"), [(False, 1.5), (True, 1.3)])
def test_the_exposure_is_small(service: SystemdService, external: bool, at_most: float) -> None:
    if external:
        service.drop_in(EXTERNAL.read_text())

    report = service.machine.run("systemd-analyze", "security", "--no-pager", UNIT).out

    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert float(level) <= at_most
