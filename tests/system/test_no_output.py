"""Standard streams that are closed or full: what is to be done is done, and nobody sees a traceback."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

Customers = Collection[dict[str, Any]]
Run = Callable[..., DaemonProcess]

CLOSED, FULL = "<&- >&- 2>&-", ">/dev/full"


def redirected(cli: CommandLine, streams: str) -> CommandLine:
    """Return the command line with its standard streams redirected by a shell."""
    return replace(cli, before=("sh", "-c", f'exec "$@" {streams}', "sh"))


@pytest.mark.parametrize("command_name", ["check", "uri", "verify", "--help"])
def test_output_that_cannot_be_written_is_one_line(
    connected: CommandLine, source: Customers, command_name: str
) -> None:
    source.insert_one({"_id": 1})

    refused = redirected(connected, FULL)(command_name)

    assert refused.code == 1
    assert refused.line.startswith("output: OSError (No space left on device)")


@pytest.mark.parametrize("command_name", ["check", "uri", "verify", "status", "--help"])
def test_closed_streams_are_no_failure(connected: CommandLine, command_name: str) -> None:
    seen = connected(command_name)

    unseen = redirected(connected, CLOSED)(command_name)

    assert (unseen.code, unseen.out, unseen.err) == (seen.code, "", "")


@pytest.mark.parametrize("streams", [CLOSED, FULL], ids=["closed", "full"])
def test_a_daemon_that_cannot_log_works_and_stops(
    connected: CommandLine, source: Customers, mirror: Customers, run: Run, streams: str
) -> None:
    daemon = run(redirected(connected, streams), "start", "sync")
    daemon.cli = connected
    daemon.healthy()

    source.insert_one(customer(1))

    eventually(lambda: are_twins(source, mirror))
    assert daemon.ask("stop").code == 0
    assert daemon.wait() == 0
    assert daemon.log.read_text() + daemon.told() == ""


@pytest.mark.parametrize("streams", [CLOSED, FULL], ids=["closed", "full"])
def test_a_reindex_that_cannot_tell_what_it_did_does_it(
    connected: CommandLine, source: Customers, mirror: Customers, streams: str
) -> None:
    source.insert_many(customer(n) for n in range(10))

    done = redirected(connected, streams)("start", "--full")

    assert (done.code, done.out, done.err) == (0, "", "")
    assert are_twins(source, mirror)
