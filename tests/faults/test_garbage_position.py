"""R3: a daemon whose stored position lies in the future; other garbage is in tests/mongo."""

from collections.abc import Callable

from tests.eventually import eventually
from tests.mongo.customers import Customers
from tests.mongo.test_garbage_position import an_hour_later, stored_token
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Run = Callable[..., DaemonProcess]


def test_r3_a_daemon_whose_position_lies_in_the_future_mirrors_what_happens_before_that(
    connected: CommandLine, source: Customers, mirror: Customers, states: Customers, run: Run
) -> None:
    source.insert_many([customer(each) for each in range(50)])
    first = run(connected, "start", "sync")
    first.healthy()
    eventually(lambda: are_twins(source, mirror))
    assert first.ask("stop").code == 0
    later = an_hour_later(stored_token(states))
    states.update_one({"_id.kind": "checkpoint"}, {"$set": {"token": later}})
    source.delete_many({"_id": {"$lt": 10}})

    second = run(connected, "start", "sync", instance="second")
    second.healthy()
    source.update_many({}, {"$set": {"lastName": "Roe"}})

    eventually(lambda: are_twins(source, mirror))
    assert [each["message"] for each in second.events("history_lost")] == [
        "the history behind the checkpoint is lost (its position lies in the future): a reindex runs while "
        "mirroring goes on"
    ]
    assert {child["restarts"] for child in second.status()["children"]} == {0}
