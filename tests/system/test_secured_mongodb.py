"""A MongoDB that wants TLS, certificates on both sides and a login: what works, and what is told else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.eventually import eventually
from tests.secured_mongod import Authority, SecuredMongod, need_openssl
from tests.system.command_line import CommandLine
from tests.system.daemon_process import DaemonProcess
from tests.system.twins import are_twins, customer

PASSWORD, WRONG = "s3cret/p@ss", "an0ther-pass"
NO_PRIMARY = "MONGO_URI: no primary answers: "
HANGS_UP = f"{NO_PRIMARY}it hangs up; does it want tls=true, or a certificate (tlsCertificateKeyFile)?"
UNSIGNED = f"{NO_PRIMARY}no CA in tlsCAFile has signed the server's certificate; name the one that has"
OTHER_HOST = f"{NO_PRIMARY}the server's certificate is for another host name; use that one, or mend it"
REFUSED = (
    "MONGO_URI: the server refused user or password (code 18); "
    "correct them (and authSource) in MONGO_URI or MONGO_URI_FILE"
)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredMongod]:
    need_openssl()
    with SecuredMongod(tmp_path_factory.mktemp("secured"), password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, secured: SecuredMongod) -> Authority:
    """An authority that the server does not know."""
    return Authority(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def cli(command: CommandLine) -> CommandLine:
    return replace(command, secrets=(PASSWORD, "s3cret", WRONG))


def without_tls(secured: SecuredMongod, foreign: Authority) -> str:
    return secured.uri_with()


def with_a_foreign_ca(secured: SecuredMongod, foreign: Authority) -> str:
    return secured.uri_with(
        tlsCAFile=str(foreign.certificate), tlsCertificateKeyFile=str(secured.client_file)
    )


def without_a_certificate(secured: SecuredMongod, foreign: Authority) -> str:
    return secured.uri_with(tlsCAFile=str(secured.authority.certificate))


def with_a_foreign_certificate(secured: SecuredMongod, foreign: Authority) -> str:
    return secured.uri_with(
        tlsCAFile=str(secured.authority.certificate), tlsCertificateKeyFile=str(foreign.sign("client"))
    )


def with_another_host_name(secured: SecuredMongod, foreign: Authority) -> str:
    return secured.uri.replace("127.0.0.1", "localhost")


def test_it_mirrors_over_tls_with_a_certificate_and_a_password(
    cli: CommandLine, secured: SecuredMongod, run: Callable[..., DaemonProcess]
) -> None:
    cli = cli.having(MONGO_URI=secured.uri)
    with MongoClient[dict[str, Any]](secured.uri, timeoutMS=10_000) as client:
        source, mirror = client.clientsync.customers, client.clientsync.customers_anonymised
        source.insert_many([customer(each) for each in range(10)])

        checked = cli("check")
        daemon = run(cli, "start", "sync")
        daemon.healthy()
        source.insert_one(customer(10))
        eventually(lambda: are_twins(source, mirror))

        assert checked.code == 0
        assert cli("start", "--full").code == 0
        assert cli("verify").code == 0
        assert daemon.ask("stop").code == 0


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        (without_tls, HANGS_UP),
        (with_a_foreign_ca, UNSIGNED),
        (without_a_certificate, HANGS_UP),
        (with_a_foreign_certificate, HANGS_UP),
        (with_another_host_name, OTHER_HOST),
    ],
)
def test_check_tells_in_one_line_what_is_wrong_with_tls(
    cli: CommandLine,
    secured: SecuredMongod,
    foreign: Authority,
    uri: Callable[[SecuredMongod, Authority], str],
    line: str,
) -> None:
    checked = cli.having(MONGO_URI=uri(secured, foreign))("check")

    assert (checked.code, checked.err) == (1, "")
    assert checked.out.splitlines()[-1] == f"WRONG  {'server':16} {line}"


def test_a_daemon_waits_for_certificates_that_fit_and_says_where_to_look(
    cli: CommandLine, secured: SecuredMongod, foreign: Authority, run: Callable[..., DaemonProcess]
) -> None:
    daemon = run(cli.having(MONGO_URI=with_a_foreign_ca(secured, foreign)), "start", "sync")

    told = daemon.wait_for("mongodb_unreachable")
    assert told["message"].endswith(": waiting for it; `clientsync-supervisor check` says why")
    assert daemon.ask("stop").code == 0


def test_a_wrong_password_ends_the_start_with_one_line(
    cli: CommandLine, secured: SecuredMongod, run: Callable[..., DaemonProcess]
) -> None:
    cli = cli.having(MONGO_URI=secured.uri.replace("s3cret", WRONG))

    checked, daemon = cli("check"), run(cli, "start", "sync")

    assert checked.out.splitlines()[-1] == f"WRONG  {'server':16} {REFUSED}"
    assert daemon.wait() == 78
    (given_up,) = daemon.events("giving_up")
    assert given_up["message"].partition(": ")[2] == REFUSED


def test_a_certificate_that_cannot_be_read_is_a_wrong_setting(
    cli: CommandLine, secured: SecuredMongod, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    uri = secured.uri_with(tlsCAFile=nowhere, tlsCertificateKeyFile=str(secured.client_file))

    checked = cli.having(MONGO_URI=uri)("check")

    assert (checked.code, checked.out) == (78, "")
    assert checked.line == (
        "MONGO_URI in the environment: the option tlsCAFile is not supported, has a wrong value "
        "or names a file that cannot be read"
    )
