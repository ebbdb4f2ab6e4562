"""The death ledger: the last children that ended unasked, in a file that survives the daemon."""

import json
import logging
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

KEPT = 50
COMPACT_AT = 4 * KEPT

TEXTS = ("child", "cause", "phase", "reason")

Death = dict[str, Any]


class Ledger:
    """Keeps the newest deaths in memory and appends each to the file, which never stops the daemon."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a damaged line is left out, and that is said once."""
        self._path = path
        self._lines = 0
        self._torn = False
        self._writable = True
        self.deaths: list[Death] = self._read()[-KEPT:]

    def record(self, *, child: str, pid: int, cause: str, phase: str, reason: str) -> None:
        """Add a death, now. `cause` is a signal's name or an exit code; `reason` is safe to show."""
        death = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "child": child,
            "pid": pid,
            "cause": cause,
            "phase": phase,
            "reason": reason,
        }
        self.deaths = [*self.deaths, death][-KEPT:]
        try:
            if self._lines >= COMPACT_AT:
                self._compact()
            else:
                self._append(death)
            self._writable = True
        except OSError as error:
            if self._writable:
                log.warning(
                    "%s cannot be written: %s; deaths are remembered until the daemon ends",
                    self._path,
                    error.strerror,
                    extra={"event": "ledger_not_written"},
                )
            self._writable = False

    def _append(self, death: Death) -> None:
        # A line that was torn (full disk, power cut) must not swallow the next one.
        line = ("\n" if self._torn else "") + json.dumps(death) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._torn = os.write(descriptor, line.encode()) != len(line.encode())
        finally:
            os.close(descriptor)
        if self._torn:
            raise OSError(None, "No space left on device")
        self._lines += 1

    def _compact(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text("".join(json.dumps(death) + "\n" for death in self.deaths))
        fresh.replace(self._path)
        self._lines, self._torn = len(self.deaths), False

    def _read(self) -> list[Death]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning(
                "%s cannot be read: %s", self._path, error.strerror, extra={"event": "ledger_not_read"}
            )
            return []
        lines = content.splitlines()
        self._lines, self._torn = len(lines), bool(content) and not content.endswith(b"\n")
        deaths = [death for death in map(_parse, lines) if death is not None]
        if len(deaths) < len(lines):
            log.warning(
                "%s: %d damaged lines left out",
                self._path,
                len(lines) - len(deaths),
                extra={"event": "ledger_damaged"},
            )
        return deaths


def _parse(line: bytes) -> Death | None:
    """Return what the line says, if it is what `record` writes: others rely on it."""
    try:
        death = json.loads(line)
        datetime.fromisoformat(death["time"])
        whole = isinstance(death["pid"], int) and all(isinstance(death[name], str) for name in TEXTS)
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return death if whole else None
