import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from procs.errors import PermanentError
from supervisor.logs import QUIET, choose_format, configure

log = logging.getLogger("procs.writer")
SECRET = "jane.doe@example.com"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, raising = logging.getLogger(), logging.raiseExceptions
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


def duplicate_key() -> DuplicateKeyError:
    """An error as the server makes it: its text quotes the customer."""
    details = {"keyValue": {"email": SECRET}}
    return DuplicateKeyError(f"E11000 duplicate key error dup key: {{ email: {SECRET} }}", 11000, details)


def log_an_exception() -> None:
    try:
        raise duplicate_key()
    except DuplicateKeyError:
        log.exception("refused", extra={"event": "refused"})


def only_line(capfd: pytest.CaptureFixture[str]) -> str:
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    assert out.endswith("\n")
    return out[:-1]


def only_object(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(only_line(capfd))
    return fields


@pytest.mark.parametrize(
    ("setting", "is_tty", "chosen"),
    [
        (None, True, "console"),
        (None, False, "json"),
        ("json", True, "json"),
        ("console", False, "console"),
    ],
)
def test_people_get_lines_on_a_terminal_unless_the_setting_says_otherwise(
    setting: Any, is_tty: bool, chosen: str
) -> None:
    assert choose_format(setting, is_tty) == chosen


def test_json_lines_hold_what_the_contract_names_then_the_extras(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="writer", instance="default")

    log.info("mirrored %d", 3, extra={"event": "mirrored", "count": 3, "path": Path("/x")})

    fields = only_object(capfd)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert list(fields.items()) == [
        ("level", "INFO"),
        ("name", "procs.writer"),
        ("process", "writer"),
        ("instance", "default"),
        ("event", "mirrored"),
        ("message", "mirrored 3"),
        ("count", 3),
        ("path", "/x"),
    ]


def test_the_time_is_utc_whatever_the_time_zone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    configure("INFO", "json", process="writer", instance="default")
    record = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "created": 1.5})

    logging.getLogger().handle(record)
    monkeypatch.undo()
    time.tzset()

    assert only_object(capfd)["time"] == "1970-01-01T00:00:01.500Z"


def test_extras_cannot_pass_for_what_the_contract_names(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="writer", instance="default")

    log.info("true", extra={"event": "true", "instance": "false", "level": "false", "time": "false"})

    assert "false" not in only_line(capfd)


def test_console_lines_are_aligned_and_end_with_the_extras(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "console", process="writer", instance="default")

    log.warning("slow", extra={"event": "slow", "lag_ms": 5, "who": "a b", "phase": "live", "empty": ""})

    line = only_line(capfd)
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d\.\d{3} WARNING  writer     slow  lag_ms=5 who="a b" phase=live empty=""', line
    )


def test_debug_means_level_debug_and_shows_logger_and_event(capfd: pytest.CaptureFixture[str]) -> None:
    configure("WARNING", "console", process="writer", instance="default", debug=True)

    log.debug("step", extra={"event": "step"})

    assert only_line(capfd).endswith(" DEBUG    writer     step  event=step name=procs.writer")


def test_nothing_below_the_level_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    configure("WARNING", "json", process="writer", instance="default")

    log.info("quiet", extra={"event": "quiet"})

    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("format", ["json", "console"])
def test_the_text_of_an_exception_is_never_written(format: Any, capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", format, process="writer", instance="default")

    log_an_exception()
    log.error("failed: %s", duplicate_key(), extra={"event": "failed"})
    log.error("failed: %(why)r", {"why": duplicate_key()}, extra={"event": "failed"})
    log.error("failed", extra={"event": "failed", "error": duplicate_key(), "all": [duplicate_key()]})
    log.error(duplicate_key(), extra={"event": "failed"})

    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert "DuplicateKeyError (11000)" in line
        assert SECRET not in line


def test_an_exception_is_told_with_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="writer", instance="default")

    log_an_exception()

    assert re.fullmatch(r"DuplicateKeyError \(11000\) at test_logs\.py:\d+", only_object(capfd)["error"])


def test_our_own_errors_keep_their_text(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="writer", instance="default")

    log.error("ended: %s", PermanentError("MONGO_URI: no rights"), extra={"event": "ended"})

    assert only_object(capfd)["message"] == "ended: MONGO_URI: no rights"


@pytest.mark.parametrize("name", ["pymongo.command", "pymongo.topology", "pymongo", "faker.factory"])
def test_loggers_that_quote_data_stay_quiet_even_at_debug(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("DEBUG", "json", process="writer", instance="default", debug=True)

    logging.getLogger(name).debug('{"command": "insert %s"}', SECRET)
    logging.getLogger(name).info(SECRET)

    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_record_stays_one_line(format: Any, capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", format, process="writer", instance="default")

    log.info("two\nlines \x1b[31m", extra={"event": "odd", "value": "a\nb\x1b"})

    assert only_line(capfd).isprintable()


def test_a_wrong_template_is_written_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="writer", instance="default")

    log.info("mirrored %d", "many", extra={"event": "mirrored"})

    assert only_object(capfd)["message"] == "mirrored %d"


def test_configuring_again_replaces_what_was(capfd: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json", process="supervisor", instance="default")
    configure("INFO", "json", process="writer", instance="default")

    log.info("once", extra={"event": "once"})

    assert only_object(capfd)["process"] == "writer"


SCRIPT = """
import logging, sys
from supervisor.logs import configure
configure("INFO", "console", process="writer", instance="default")
for number in range({count}):
    logging.getLogger("procs").info("line %d", number)
    {after}
print("survived", file=sys.stderr)
"""


def run(script: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, **options)


def test_each_line_is_one_write_so_that_those_of_several_processes_do_not_mix() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    # Here each write arrives as a packet of its own.
    with ours, run(SCRIPT.format(count=20, after=""), stdout=theirs) as process:
        theirs.close()
        packets = list(iter(lambda: ours.recv(10_000), b""))

    assert [packet.split()[-1] for packet in packets] == [str(number).encode() for number in range(20)]
    assert process.returncode == 0
    assert all(packet.endswith(b"\n") for packet in packets)


def test_a_stdout_whose_reader_went_away_neither_kills_nor_complains() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    with run(SCRIPT.format(count=3, after=""), stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"survived\n")


def test_nothing_is_written_into_a_file_that_took_the_place_of_a_closed_stdout(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    script = f"import os; assert os.open({str(taken)!r}, os.O_CREAT | os.O_WRONLY) == 1\n"

    command = [sys.executable, "-c", script + SCRIPT.format(count=3, after="")]
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], check=True, timeout=30)

    assert closed.returncode == 0
    assert taken.read_bytes() == b""


def test_a_stdout_that_nobody_reads_does_not_stop_the_work_and_the_gap_is_told() -> None:
    reader, writer = os.pipe()
    stuck = "if number == 4999: print('stuck', file=sys.stderr, flush=True); sys.stdin.readline()"

    with run(SCRIPT.format(count=5_001, after=stuck), stdout=writer, stdin=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.readline() == b"stuck\n"
        os.set_blocking(reader, False)
        before = os.read(reader, 1_000_000).decode().splitlines()
        os.set_blocking(reader, True)
        process.communicate(b"\n", timeout=30)
        after = os.read(reader, 1_000_000).decode().splitlines()
    os.close(reader)

    assert process.returncode == 0
    assert len(after) == 1
    assert after[0].endswith(f"line 5000  lost_lines={5_000 - len(before)}")


def on_a_terminal(environ: dict[str, str]) -> str:
    main, terminal = os.openpty()
    with run(SCRIPT.format(count=1, after=""), stdout=terminal, env=os.environ | environ) as process:
        process.communicate(timeout=30)
    text = os.read(main, 10_000).decode()
    os.close(main)
    os.close(terminal)
    return text


def test_colours_are_for_terminals_and_people_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.modules[__name__], "SCRIPT", SCRIPT.replace(".info(", ".warning("))

    assert "\x1b[33mWARNING \x1b[0m" in on_a_terminal({})
    assert "\x1b" not in on_a_terminal({"NO_COLOR": "1"})
