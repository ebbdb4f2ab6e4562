"""A new key: change the key file, reload, and the mirror follows by itself."""

import hashlib
import hmac
from collections.abc import Callable

from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import Customer, customer

Customers = Collection[Customer]
OLD, NEW = b"the first of all keys here", b"another key after that one"


def keyed(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:8]


def test_a_reload_with_another_key_makes_the_mirror_anew_while_mirroring_goes_on(
    connected: CommandLine, source: Customers, mirror: Customers, run: Callable[..., DaemonProcess]
) -> None:
    key_file = connected.directory / "key"
    key_file.write_bytes(OLD)
    source.insert_many([customer(each, f"John {each}") for each in range(500)])
    daemon = run(connected.having(ANON_KEY_FILE=str(key_file)), "start", "sync")
    daemon.healthy()
    eventually(lambda: mirror.count_documents({}) == 500)
    assert mirror.distinct("lastName") == [keyed(OLD, "Doe")]

    key_file.write_bytes(NEW)
    reloaded = daemon.ask("reload")
    source.insert_one(customer(500, "John 500"))

    assert reloaded.code == 0
    assert NEW.decode() not in reloaded.out and OLD.decode() not in reloaded.out
    eventually(lambda: mirror.distinct("lastName") == [keyed(NEW, "Doe")])
    eventually(lambda: mirror.count_documents({}) == 501)
    assert {each["firstName"] for each in mirror.find()} == {keyed(NEW, f"John {n}") for n in range(501)}
    assert daemon.ask("verify").out.startswith("compared=501 missing=0 stale=0 orphaned=0 unmirrorable=0")
    assert [record["level"] for record in daemon.events("policy_changed")] == ["WARNING"]


def test_a_key_that_was_changed_while_nothing_ran_is_noticed_at_the_next_start(
    connected: CommandLine, source: Customers, mirror: Customers, run: Callable[..., DaemonProcess]
) -> None:
    key_file = connected.directory / "key"
    key_file.write_bytes(OLD)
    cli = connected.having(ANON_KEY_FILE=str(key_file))
    source.insert_many([customer(each) for each in range(50)])
    run(cli, "start", "sync").healthy()
    assert cli("stop").code == 0
    assert mirror.distinct("lastName") == [keyed(OLD, "Doe")]

    key_file.write_bytes(NEW)
    run(cli, "start", "sync")

    eventually(lambda: mirror.distinct("lastName") == [keyed(NEW, "Doe")])
    assert mirror.count_documents({}) == 50
