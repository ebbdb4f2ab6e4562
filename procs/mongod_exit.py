"""Why a mongod ended, as the one line that tells the operator what to do."""

import shutil
import signal
from enum import IntEnum
from pathlib import Path

from procs import tether
from procs.errors import PermanentError, TemporaryError
from procs.mongod_home import Home


class Exit(IntEnum):
    """Exit codes: mongod's own, and those of what runs before its first line."""

    FAILED = 1
    BAD_OPTIONS = 2
    ABRUPT = 14
    ADDRESS_IN_USE = 48
    NEED_DOWNGRADE = 62
    CANNOT_EXECUTE = tether.CANNOT_EXECUTE
    CANNOT_LOAD = 127


NO_SPACE = "No space left on device"
# What mongod takes for each file of its journal; on a full disk it often cannot even log why it ends.
JOURNAL_BYTES = 100 * 1024 * 1024
NOT_WRITABLE = ("Permission denied", "Read-only file system", "read-only directory", "Failed to open")
TAIL_BYTES = 200_000


def explain(binary: Path, home: Home, code: int, *, listened: bool) -> PermanentError | TemporaryError:
    """Return the error to raise for exit `code` (negative: a signal) of the mongod in `home`.

    `listened` tells whether it had come so far as to take connections. The log is searched for fixed
    words, never quoted: it may hold customers.
    """
    log = _tail(home.log)
    told = "set MONGO_URI to a server of your own"
    match code:
        case Exit.CANNOT_EXECUTE:
            return PermanentError(f"{binary} cannot be executed on this machine: {told}")
        case Exit.CANNOT_LOAD:
            return PermanentError(
                f"{binary} lacks shared libraries: it needs OpenSSL 3 and libcurl 4 (Debian, Ubuntu: apt "
                f"install libssl3 libcurl4), or {told}"
            )
        case Exit.BAD_OPTIONS:
            return PermanentError(f"{binary} does not know its options: use MongoDB 5.0 or newer, or {told}")
        case Exit.ADDRESS_IN_USE:
            return PermanentError(
                f"port {home.port} of the embedded MongoDB is taken by another program: free it, or remove "
                f"{home.port_file}, and another port is chosen"
            )
        case Exit.NEED_DOWNGRADE:
            return PermanentError(
                f"the data in {home.data} are of another version of MongoDB than {binary}: put the mongod "
                f"that wrote them on PATH, or move {home.directory} away to begin with an empty database"
            )
    if code == -signal.SIGILL:
        return PermanentError(f"{binary} needs a processor with AVX: {told}")
    free = shutil.disk_usage(home.directory).free
    if NO_SPACE in log or (code in (Exit.FAILED, Exit.ABRUPT, -signal.SIGABRT) and free < JOURNAL_BYTES):
        return PermanentError(
            f"no space left for the embedded MongoDB in {home.directory} ({free / 1e6:.0f} MB are free): "
            "make room, or set STATE_DIR to another place"
        )
    if not listened and any(words in log for words in NOT_WRITABLE):
        return PermanentError(
            f"mongod cannot write in {home.directory}: mend its owner and rights, see {home.log}"
        )
    if not listened and code in (Exit.ABRUPT, -signal.SIGABRT):
        return PermanentError(
            f"the data in {home.data} are damaged: restore a backup, or move {home.directory} away to begin "
            f"with an empty database; see {home.log}"
        )
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return TemporaryError(f"the embedded MongoDB {how}, see {home.log}")


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
