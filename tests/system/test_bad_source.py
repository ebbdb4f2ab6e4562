"""A source that does not take every fake customer."""

from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Customers = Collection[dict[str, Any]]
Run = Callable[..., DaemonProcess]


def test_fake_customers_whose_email_is_taken_are_left_out(
    connected: CommandLine, source: Customers, run: Run
) -> None:
    source.create_index("email", unique=True)
    seeded = connected.having(FAKER_SEED="1", FAKER_BATCH_MIN="100", FAKER_BATCH_MAX="100")
    first = run(seeded, "start", "app")
    first.healthy()
    assert first.ask("stop").code == 0
    before = source.count_documents({})

    again = run(seeded, "start", "app", instance="again")  # begins with the very same customers

    eventually(lambda: source.count_documents({}) > before, 30)
    assert again.child("generator")["restarts"] == 0
    assert again.ask("stop").code == 0


def test_a_source_that_refuses_fake_customers_is_told_and_still_mirrored(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run
) -> None:
    source.database.create_collection(source.name, validator={"lastName": "Doe"})

    daemon = run(connected, "start")

    source.insert_one(customer(1))
    eventually(lambda: mirror.count_documents({}) == 1)
    assert are_twins(source, mirror)
    told = eventually(lambda: [each for each in daemon.events("child_died") if each["child"] == "generator"])
    assert told[0]["message"].partition("; starts again in ")[0] == (
        "generator ended by exit code 1 in phase starting: SOURCE_COLLECTION: customers refuses the fake "
        "customers (code 121); `start sync` adds none"
    )
    status = daemon.status()
    assert not status["healthy"]
    assert status["reason"].startswith("generator: ")
    assert {child["name"] for child in status["children"] if child["restarts"]} == {"generator"}


def test_verify_of_a_source_that_does_not_exist_says_so(connected: CommandLine, mirror: Customers) -> None:
    mirror.insert_one(customer(1))

    kept, emptied = connected("verify"), connected.having(SYNC_ON_DROP="empty")("verify")

    assert kept.code == 1
    assert kept.err.startswith("SOURCE_COLLECTION: there is no collection 'customers' in ")
    assert (emptied.code, emptied.out) == (1, "compared=0 missing=0 stale=0 orphaned=1 unmirrorable=0\n")
