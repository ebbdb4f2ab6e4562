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
from tests.system.systemd_machine import ROOT
from tests.system.systemd_service import EXTERNAL, SYNC, UNIT, UNIT_FILE, SystemdService, commands_in_head
from tests.system.twins import Customer, customer

# The first test waits for an installation from the package index too.
pytestmark = pytest.mark.timeout(300)

KEY = "a key that nobody sees"
PASSWORD, WRONG_PASSWORD = "nobody-sees-this", "nor-this"
EDITOR = '"${EDITOR:-vi}" /etc/clientsync/mongo-uri'
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[MongodProcess]:
    """A MongoDB that asks for a password."""
    with MongodProcess(tmp_path, user="clientsync", password=PASSWORD) as mongod:
        yield mongod


def install_external(service: SystemdService, uri: str) -> Ended:
    """Follow the head of external-mongodb.conf, its editor replaced by a line of the shell."""
    (commands,) = commands_in_head(EXTERNAL)
    assert EDITOR in commands
    return service.machine.follow(commands.replace(EDITOR, f"echo '{uri}' >/etc/clientsync/mongo-uri"))


def install_key(service: SystemdService) -> None:
    """Give it our key as a credential, by the lines of the unit that are commented out."""
    service.machine.follow(f"install -m 600 /dev/stdin /etc/clientsync/anon-key <<<'{KEY}'")
    service.drop_in(*(line[1:] for line in UNIT_FILE.read_text().splitlines() if "anon-key" in line))


def keyed(text: bytes) -> str:
    return hmac.new(KEY.encode(), text, "sha256").hexdigest()[:8]


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
    assert shown.out.splitlines()[0].startswith("healthy")
    assert "default" in shown.out


def test_secrets_come_from_credentials_and_are_never_shown(
    guarded: MongodProcess, service: SystemdService
) -> None:
    service.configure(LOG_LEVEL="DEBUG")
    install_key(service)

    installed = install_external(service, guarded.uri)

    assert installed.code == 0
    assert set(service.pids()) == set(SYNC)
    with MongoClient[Customer](guarded.uri) as client:
        database = client["clientsync"]
        database["customers"].insert_one(customer(1, "John"))
        (image,) = eventually(lambda: list(database["customers_anonymised"].find()))
    assert image["firstName"] == keyed(b"John")
    assert service("reload").code == 0
    seen = everything_seen(service)
    assert guarded.address in seen
    assert PASSWORD not in seen
    assert KEY not in seen


def test_the_commands_of_the_operators_page_have_what_the_service_has_and_run_beside_it_or_without_it(
    guarded: MongodProcess, service: SystemdService
) -> None:
    install_key(service)
    assert install_external(service, guarded.uri).code == 0
    with MongoClient[Customer](guarded.uri) as client:
        client["clientsync"]["customers"].insert_one(customer(1, "John"))
        (settings,) = re.findall(r"^```\n((?:export .*\n)+alias cs=.*\n)", OPERATIONS, re.MULTILINE)
        commands = f"shopt -s expand_aliases\n{settings}cs check\ncs start --full\ncs verify"

        for verb in ("start", "stop"):
            service(verb)
            asked = service.machine.follow(commands)

            assert asked.code == 0, asked
            assert asked.out.splitlines()[-1].startswith("compared=1 ")
            (image,) = client["clientsync"]["customers_anonymised"].find()
            assert image["firstName"] == keyed(b"John")
    assert service("start").code == 0


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


def test_metrics_are_served_to_this_machine_and_the_mirror_is_verified(service: SystemdService) -> None:
    service.configure(METRICS_ADDR="9464", VERIFY_EVERY="1s")
    service.started()
    scrape = "import urllib.request as u; print(u.urlopen('http://localhost:9464/metrics').read().decode())"

    def scraped() -> str:
        return service.machine.run("/usr/bin/python3", "-c", scrape).out

    eventually(lambda: 'clientsync_child_up{child="web"} 1.0\n' in scraped())
    eventually(lambda: service.events("verify_clean"), 30)
    assert service.status()["deaths"] == []
