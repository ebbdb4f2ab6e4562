"""Bad settings, files and arguments, as people give them: one line, an exit code, and nothing left behind."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.command_line import CommandLine, Ended
from tests.system.unprivileged import UNPRIVILEGED

SECRET = "s3cret-pass"
NOWHERE = "mongodb://127.0.0.1:1/"


@pytest.fixture
def cli(command: CommandLine) -> CommandLine:
    """The command line with a MongoDB that is never asked, for something else is wrong already."""
    return replace(command.having(MONGO_URI=NOWHERE), secrets=(SECRET,))


def assert_refused(cli: CommandLine, ended: Ended, line: str) -> None:
    assert (ended.code, ended.line, ended.out) == (78, line, "")
    assert not cli.state_dir.exists()


@pytest.mark.parametrize("command_name", ["start", "check", "verify", "uri"])
@pytest.mark.parametrize("where", ["the environment", ".env"])
def test_a_misspelt_setting_is_told_with_the_name_that_was_meant(
    cli: CommandLine, where: str, command_name: str
) -> None:
    if where == ".env":
        (cli.directory / ".env").write_text("SYNC_BATCHSIZE=500\n")
    else:
        cli = cli.having(SYNC_BATCHSIZE="500")

    refused = cli(command_name)

    assert_refused(cli, refused, f"SYNC_BATCHSIZE in {where}: no such setting; did you mean SYNC_BATCH_SIZE?")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"SYNC_FLUSH_MS": "soon"},
            "SYNC_FLUSH_MS='soon' in the environment: must be a whole number of milliseconds "
            "from 1 to 3600000",
        ),
        (
            {"FAKER_FILLING_DELAY_MS": "-1"},
            "FAKER_FILLING_DELAY_MS='-1' in the environment: must be a whole number of milliseconds "
            "from 0 to 86400000",
        ),
        (
            {"FAKER_BATCH_MIN": "20", "FAKER_BATCH_MAX": "10"},
            "FAKER_BATCH_MIN=20 is more than FAKER_BATCH_MAX=10",
        ),
        (
            {"FAKER_LOCALE": "xx_XX"},
            "FAKER_LOCALE='xx_XX' in the environment: must be a locale that Faker knows, "
            "such as en_US, de_DE or ja_JP",
        ),
        (
            {"MONGO_URI": f"mongodb://jane:{SECRET}@db:port/"},
            "MONGO_URI in the environment: the hosts must look like host[:port],host[:port], "
            "with ports from 1 to 65535",
        ),
        (
            {"MONGO_URI": f"mongodb://jane:{SECRET}/@db/"},
            "MONGO_URI in the environment: must look like mongodb://[user:password@]host[:port][,host…]/"
            "[?options]; in user and password, characters such as @ / ? : % must be percent-encoded",
        ),
        (
            {"MONGO_DB": f"mongodb://jane:{SECRET}@db/"},
            'MONGO_DB in the environment: must be a database name: at most 63 bytes, without / \\ . " $ '
            "or a blank",
        ),
        (
            {"MIRROR_COLLECTION": "customers"},
            "SOURCE_COLLECTION and MIRROR_COLLECTION are both 'customers': the mirror must be another "
            "collection, or it would overwrite the customers",
        ),
    ],
    ids=[
        "no number",
        "negative",
        "min over max",
        "locale",
        "port",
        "password",
        "uri as db",
        "source = mirror",
    ],
)
def test_a_wrong_value_is_told_with_what_is_right(
    cli: CommandLine, settings: dict[str, str], line: str
) -> None:
    cli = cli.having(**settings)

    for command_name in ("start", "check"):
        assert_refused(cli, cli(command_name), line)


def test_several_mistakes_are_told_at_once_a_line_each(cli: CommandLine) -> None:
    refused = cli.having(SYNC_BATCHSIZE="5", FAKER_LOCALE="xx")("start")

    assert refused.code == 78
    assert [line.partition(" ")[0] for line in refused.err.splitlines()] == [
        "SYNC_BATCHSIZE",
        "FAKER_LOCALE='xx'",
    ]


def test_a_value_of_any_length_is_told_in_a_line_that_can_be_read(cli: CommandLine) -> None:
    for name, value in (("SYNC_BATCH_SIZE", "9" * 100_000), ("MONGO_DB", "x" * 100_000)):
        refused = cli.having(**{name: value})("start")

        assert refused.code == 78
        assert refused.line.startswith(f"{name}='{value[:200]}…' in the environment: must be")
        assert len(refused.line) < 400


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"MONGO_DB=shop\nnot a setting\n", ".env:2: not a NAME=value line, or a quote that is not closed"),
        (b'MONGO_DB="shop\n', ".env:1: not a NAME=value line, or a quote that is not closed"),
        (b"# caf\xe9\nMONGO_DB=shop\n", ".env:1: not UTF-8; save the file as UTF-8 text"),
        (b"MONGO_DB=a\nMONGO_DB=b\n", ".env:2: MONGO_DB is already set in line 1; keep one of them"),
    ],
    ids=["no setting", "open quote", "latin-1", "twice"],
)
def test_a_malformed_env_file_is_told_with_the_line(cli: CommandLine, content: bytes, line: str) -> None:
    (cli.directory / ".env").write_bytes(content)

    for command_name in ("start", "check"):
        assert_refused(cli, cli(command_name), line)


def test_an_env_file_that_is_named_must_be_there(cli: CommandLine) -> None:
    assert_refused(
        cli,
        cli("--env-file", "my.env", "start"),
        "--env-file my.env: No such file or directory; name one that is there",
    )


def make_directory(path: Path) -> None:
    path.mkdir()


def make_unreadable(path: Path) -> None:
    path.touch(mode=0o000)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("given", ["--env-file", ".env", "ANON_KEY_FILE", "MONGO_URI_FILE"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_directory, "Is a directory"),
        (make_unreadable, "Permission denied"),
        (os.mkfifo, "is a pipe, but must be a file that a reload can read again"),
        (make_endless, "has more than 1 MB: this must be the wrong file"),
    ],
    ids=["directory", "unreadable", "pipe", "endless"],
)
def test_what_cannot_be_a_file_of_settings_is_told_and_never_waited_for(
    cli: CommandLine, make: Callable[[Path], None], why: str, given: str
) -> None:
    make(cli.directory / (".env" if given == ".env" else "file"))
    cli = replace(cli, before=UNPRIVILEGED)
    arguments: tuple[str, ...] = ()
    label = ".env"
    if given == "--env-file":
        arguments, label = ("--env-file", "file"), "file"
    elif given != ".env":
        cli = replace(cli, settings={given: "file"})
        label = f"{given}='file' in the environment"

    assert_refused(cli, cli(*arguments, "start"), f"{label}: {why}")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"123456\n", "must have at least 16 bytes (`openssl rand -hex 32` makes a good key)"),
    ],
    ids=["empty", "a PIN"],
)
def test_a_file_without_a_good_key_is_told(cli: CommandLine, content: bytes, why: str) -> None:
    (cli.directory / "key").write_bytes(content)
    cli = cli.having(ANON_KEY_FILE="key")

    assert_refused(cli, cli("start"), f"ANON_KEY_FILE='key' in the environment: {why}")


@pytest.mark.parametrize("name", ["", "../default", ".hidden", "a b"])
def test_an_instance_has_a_plain_name(cli: CommandLine, name: str) -> None:
    line = f"--instance {name!r}: must be 1 to 64 letters, digits, _ - or dots, no dot first"

    for command_name in ("start", "status", "stop"):
        assert_refused(cli, cli("--instance", name, command_name), line)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["begin"], "Error: no command 'begin'; there are check, reload, start, status, stop, uri, verify"),
        (["start", "--fast"], "Error: No such option '--fast'."),
        (["start", "both"], "Error: Invalid value for '[app|sync]': 'both' is not one of 'app', 'sync'."),
        (["start", "app", "--full"], "Error: --full is about the mirror: it does not go with app"),
        (["status", "now"], "Error: Got unexpected extra argument (now)"),
        (["--instance"], "Error: Option '--instance' requires an argument."),
    ],
    ids=["command", "flag", "part", "full app", "extra argument", "missing argument"],
)
def test_unknown_arguments_are_a_matter_of_usage(cli: CommandLine, arguments: list[str], told: str) -> None:
    refused = cli(*arguments)

    assert (refused.code, refused.err.splitlines()[-1], refused.out) == (2, told, "")
    assert not cli.state_dir.exists()


@pytest.mark.parametrize("command_name", ["status", "stop", "reload"])
def test_where_nothing_runs_it_is_told_where_was_looked(cli: CommandLine, command_name: str) -> None:
    refused = cli("--instance", "other", command_name)

    assert (refused.code, refused.out) == (3, "")
    assert refused.line == (
        f"instance 'other' is not running (looked in {cli.state_dir}); "
        "start it, or name another one with --instance or STATE_DIR"
    )
    assert not cli.state_dir.exists()


def test_where_nothing_runs_and_the_settings_are_wrong_both_are_told(cli: CommandLine) -> None:
    refused = cli("--env-file", "my.env", "status")

    assert (refused.code, refused.line) == (
        3,
        f"instance 'default' is not running (looked in {cli.state_dir}, "
        "for the settings are wrong: --env-file my.env: No such file or directory; name one that is there); "
        "start it, or name another one with --instance or STATE_DIR",
    )
