"""R1, R2: a server that answers a command of the product with an error, before or after the effect."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.faults.conftest import mirrored_on
from tests.faults.mirrored import Mirrored
from tests.faults.server_errors import CASES, Case, Failing

OFTEN = 5
"""So many times in a row are "for a while"."""

MANY_DEATHS = 7
"""A daemon with more of them is near to trying only slowly."""


@pytest.fixture(scope="module")
def shared(mongod: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    # An answer that makes the driver look again at the server is followed by a look at once, not in 10 s.
    with mirrored_on(f"{mongod}&heartbeatFrequencyMS=500", tmp_path_factory.mktemp("daemon")) as mirrored:
        yield mirrored


@pytest.fixture
def mirrored(shared: Mirrored) -> Mirrored:
    """A daemon at work that has not lost many children."""
    if len(shared.deaths()) > MANY_DEATHS:
        shared.kill()
        shared.start()
        shared.daemon.healthy()
    shared.shrink()
    shared.becomes_right()
    return shared


@pytest.fixture
def server(client: MongoClient[dict[str, Any]]) -> Iterator[Failing]:
    failing = Failing(client)
    yield failing
    failing.stop()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_r1_a_command_that_fails(mirrored: Mirrored, server: Failing, case: Case) -> None:
    deaths = mirrored.deaths()
    if case.command.at_start:
        deaths = mirrored.begin_anew(lambda: server.answer(case))
    else:
        server.answer(case)

    mirrored.change_until(lambda: server.hits() >= (case.times or OFTEN))
    server.stop()

    mirrored.becomes_right()
    assert case.fault.ends or mirrored.deaths() == deaths
