import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.env_file import SettingsError, read


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "clientsync.env"


def problems_of(path: Path, *, required: bool = True) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(path, required=required)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("NAME = value", "value"),
        ("export NAME=value", "value"),
        ("NAME=value # a comment", "value"),
        ("NAME=value#no comment", "value#no comment"),
        ("NAME='single # quoted'", "single # quoted"),
        ('NAME="double \\"quoted\\""', 'double "quoted"'),
        ('NAME="two\nlines"', "two\nlines"),
        ("NAME=", ""),
        ("NAME=a=b", "a=b"),
        ("NAME=näme", "näme"),
    ],
)
def test_reads_the_grammar_of_dotenv(env_file: Path, line: str, value: str) -> None:
    env_file.write_text(f"# comment\n\n{line}\n", "utf-8")

    assert read(env_file, required=True) == {"NAME": value}


def test_expands_nothing_so_that_a_password_stays_as_it_is(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/expanded")
    env_file.write_text("PASSWORD=a${HOME}b$HOME\nHOME2=\"${HOME}\"\nQUOTED='${HOME}'\n")

    values = read(env_file, required=True)

    assert values == {"PASSWORD": "a${HOME}b$HOME", "HOME2": "${HOME}", "QUOTED": "${HOME}"}


def test_puts_nothing_into_the_process_environment(env_file: Path) -> None:
    before = dict(os.environ)
    env_file.write_text("SYNC_BATCH_SIZE=5\n")

    read(env_file, required=True)

    assert dict(os.environ) == before


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_takes_the_line_ends_and_the_byte_order_mark_of_any_editor(env_file: Path, end: str) -> None:
    env_file.write_bytes(b"\xef\xbb\xbf" + f"ONE=1{end}TWO=2{end}".encode())

    assert read(env_file, required=True) == {"ONE": "1", "TWO": "2"}


@pytest.mark.parametrize(
    "line",
    [
        "s3cret-without-equals",
        "export s3cret",
        "PASSWORD='s3cret",
        'PASSWORD="s3cret',
        "PASSWORD='s3cret' and more",
        "=s3cret",
        "mongodb://user:s3cret@host/?w=1",
        "'quoted s3cret'=1",
    ],
)
def test_a_malformed_line_is_named_by_its_number_never_by_its_content(env_file: Path, line: str) -> None:
    env_file.write_text(f"GOOD=1\n# comment\n\n \n{line}\nALSO_GOOD=2\n")

    (problem,) = problems_of(env_file)

    assert problem.startswith(f"{env_file}:5: not a NAME=value line")
    assert "s3cret" not in problem


def test_a_name_that_stands_twice_is_an_error(env_file: Path) -> None:
    env_file.write_text("NAME=one\nOTHER=1\nNAME=two\n")

    assert problems_of(env_file) == [f"{env_file}:3: NAME is already set in line 1; keep one of them"]


def test_all_wrong_lines_are_told_at_once(env_file: Path) -> None:
    env_file.write_text("nonsense\nGOOD=1\nGOOD=2\nexport alone\n")

    problems = problems_of(env_file)

    assert [problem.removeprefix(str(env_file)).split(":")[1] for problem in problems] == ["1", "3", "4"]


def test_text_that_is_not_utf8_is_an_error_with_its_line(env_file: Path) -> None:
    env_file.write_bytes("GOOD=1\nNAME=näme\n".encode("latin-1"))

    assert problems_of(env_file) == [f"{env_file}:2: not UTF-8; save the file as UTF-8 text"]


def test_a_nul_byte_is_an_error_with_its_line(env_file: Path) -> None:
    env_file.write_bytes(b"GOOD=1\nNAME=a\0b\n")

    assert problems_of(env_file) == [f"{env_file}:2: a NUL byte; save the file as UTF-8 text"]


def test_a_missing_file_is_an_error_only_when_it_was_asked_for(env_file: Path) -> None:
    assert read(env_file, required=False) == {}
    assert problems_of(env_file) == [
        f"--env-file {env_file}: No such file or directory; name one that is there"
    ]


@pytest.mark.parametrize("required", [True, False])
def test_a_directory_is_an_error(tmp_path: Path, required: bool) -> None:
    assert problems_of(tmp_path, required=required) == [f"{tmp_path}: Is a directory"]


@pytest.fixture
def nobody() -> Iterator[None]:
    """Nobody's rights, where the tests run as root, who may read every file."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    yield
    os.seteuid(me)


def test_a_file_without_the_right_to_read_it_is_an_error(
    env_file: Path, request: pytest.FixtureRequest
) -> None:
    env_file.touch(0o000)
    request.getfixturevalue("nobody")

    assert problems_of(env_file, required=False) == [f"{env_file}: Permission denied"]


def test_a_file_that_cannot_be_opened_is_an_error_even_when_it_was_not_asked_for(env_file: Path) -> None:
    env_file.symlink_to(env_file)

    assert problems_of(env_file, required=False) == [f"{env_file}: Too many levels of symbolic links"]


def test_a_named_pipe_is_refused_instead_of_waited_for(env_file: Path) -> None:
    os.mkfifo(env_file)

    (problem,) = problems_of(env_file)

    assert problem == f"{env_file}: is a pipe, but must be a file that a reload can read again"
