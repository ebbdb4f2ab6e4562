"""Log lines on stdout: JSON for machines, aligned text for people; never the text of an exception."""

import copy
import json
import logging
import os
import re
import select
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from procs.errors import describe

STDOUT = 1
PATIENCE_S = 1.0
"""How long a line waits for a stdout that nobody reads before it is left out."""

# At DEBUG pymongo logs whole commands, with the customers in them.
QUIET = {"pymongo": logging.WARNING, "faker": logging.WARNING}

COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Format = Literal["json", "console"]


def choose_format(setting: Format | None, is_tty: bool) -> Format:
    """Return `setting` if there is one, else what suits where stdout goes."""
    return setting or ("console" if is_tty else "json")


def configure(level: str, format: Format, *, process: str, instance: str, debug: bool = False) -> None:
    """Log from `level` on, as `process` of `instance`; replaces what was configured before.

    `debug` means level DEBUG, and logger and event on console lines too.
    """
    logging.raiseExceptions = False
    handler = StdoutHandler()
    if format == "json":
        handler.setFormatter(JsonLines(process, instance))
    else:
        coloured = os.isatty(STDOUT) and not os.environ.get("NO_COLOR")
        handler.setFormatter(ConsoleLines(process, coloured=coloured, debug=debug))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("DEBUG" if debug else level)
    for name, lowest in QUIET.items():
        logging.getLogger(name).setLevel(lowest)


class StdoutHandler(logging.Handler):
    """Writes each record with one write(), so that the lines of several processes never mix.

    A stdout that is closed or stuck must not stop the work: such lines are left out and counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, or leave it out."""
        if sys.stdout is None:
            # Closed from the start: descriptor 1 may since have become a file or a socket of ours.
            return
        record = _without_error_text(record)
        if self._lost:
            record.lost_lines = self._lost
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if select.select([], [STDOUT], [], 0 if self._lost else PATIENCE_S)[1]:
                os.write(STDOUT, line)
                self._lost = 0
                return
        except (OSError, TypeError, ValueError):
            self.handleError(record)
        self._lost += 1


class JsonLines(JsonFormatter):
    """One JSON object a line: time, level, name, process, instance, event, message, then the extras."""

    def __init__(self, process: str, instance: str) -> None:
        super().__init__(json_default=_told)
        self._process, self._instance = process, instance

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put the fields of `record` into `log_data`."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fixed = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "name": record.name,
            "process": self._process,
            "instance": self._instance,
            "event": getattr(record, "event", None),
            "message": record.message,
        }
        log_data.update({**fixed, **_extras(record), **fixed})

    def formatException(self, ei: Any) -> str:
        """Return nothing: `_extras` tells the error."""
        return ""


class ConsoleLines(logging.Formatter):
    """One line for people: time of day, level, process, message, then the extras as key=value."""

    def __init__(self, process: str, *, coloured: bool, debug: bool) -> None:
        super().__init__()
        self._process, self._coloured, self._debug = process, coloured, debug

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        extras = _extras(record)
        event = extras.pop("event", None)
        if self._debug:
            extras |= {"event": event, "name": record.name}
        pairs = " ".join(f"{key}={_readable(value)}" for key, value in extras.items())
        level = self._colour(f"{record.levelname:<8}", COLOURS.get(record.levelname))
        message = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", record.getMessage())
        return (
            f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {level} {self._process:<10} {message}"
            f"{pairs and '  '}{self._colour(pairs, '2')}"
        )

    def _colour(self, text: str, code: str | None) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code and text else text


def _without_error_text(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of `record` whose message can be made, and holds no text of an exception."""
    record = copy.copy(record)
    if not isinstance(record.msg, str):
        record.msg = _told(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(_told(arg) if isinstance(arg, BaseException) else arg for arg in record.args)
    elif record.args:
        record.args = {
            key: _told(arg) if isinstance(arg, BaseException) else arg for key, arg in record.args.items()
        }
    try:
        record.getMessage()
    except (TypeError, ValueError, KeyError):
        record.args = None  # a wrong template is better than no line
    return record


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was logged with `extra`, and the error that `exc_info` stands for."""
    extras: dict[str, Any] = merge_record_extra(record, {}, reserved=RESERVED_ATTRS)
    if record.exc_info and record.exc_info[1] is not None:
        extras.setdefault("error", describe(record.exc_info[1]))
    return {
        key: describe(value) if isinstance(value, BaseException) else value for key, value in extras.items()
    }


def _told(value: object) -> str:
    """Return what stands for a value that JSON does not know."""
    return describe(value) if isinstance(value, BaseException) else str(value)


def _readable(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_told, ensure_ascii=False)
    plain = isinstance(value, str) and text.isprintable() and text and not set(' "=') & set(text)
    return text if plain or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)
