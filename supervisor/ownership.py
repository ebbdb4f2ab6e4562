"""One daemon per instance name: whoever holds the lock on its file; the kernel frees it when they die."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from supervisor.env_file import SettingsError

GLANCES, GLANCE_S = 5, 0.02


class AlreadyRunning(Exception):
    """Another daemon of this name is alive; `pid` is None where its file does not tell."""

    def __init__(self, instance: str, pid: int | None) -> None:
        told = f" (pid {pid})" if pid else ""
        super().__init__(
            f"instance {instance!r} is already running{told}; choose another name with --instance NAME"
        )
        self.pid = pid


@dataclass(frozen=True)
class Ownership:
    """Keeps the lock for as long as `descriptor` stays open."""

    instance: str
    descriptor: int

    def release(self) -> None:
        """Give the name free. The file stays: without it two daemons could hold two files of one name."""
        os.close(self.descriptor)


def acquire(state_dir: Path, instance: str) -> Ownership:
    """Own `instance`, with our pid in its file. Raises AlreadyRunning, or SettingsError about STATE_DIR."""
    path = lock_path(state_dir, instance)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(_unusable(error, state_dir)) from None
    if not _lock(descriptor):
        pid = _pid_in(descriptor)
        os.close(descriptor)
        raise AlreadyRunning(instance, pid)
    try:
        content = f"{os.getpid()}\n".encode()
        if os.pwrite(descriptor, content, 0) != len(content):
            raise OSError(None, "No space left on device")
        os.ftruncate(descriptor, len(content))
    except OSError as error:
        os.close(descriptor)
        raise SettingsError(_unusable(error, state_dir)) from None
    return Ownership(instance, descriptor)


def acquire_first_free(state_dir: Path, name: str) -> Ownership:
    """Own `name`, or else `name`-2, `name`-3, …: the first that is free."""
    number = 1
    while True:
        try:
            return acquire(state_dir, name if number == 1 else f"{name}-{number}")
        except AlreadyRunning:
            number += 1


def owner(state_dir: Path, instance: str) -> AlreadyRunning | None:
    """Return who owns `instance`, if anybody does. Creates nothing. Raises OSError."""
    try:
        descriptor = os.open(lock_path(state_dir, instance), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return AlreadyRunning(instance, _pid_in(descriptor))
    finally:
        os.close(descriptor)
    return None


def lock_path(state_dir: Path, instance: str) -> Path:
    """Return the file that is locked; it holds the pid of the owner."""
    return state_dir / f"{instance}.lock"


def _lock(descriptor: int) -> bool:
    # A command that looks whether somebody owns the name holds the lock for an instant.
    for _ in range(GLANCES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(GLANCE_S)
        else:
            return True
    return False


def _pid_in(descriptor: int) -> int | None:
    content = os.pread(descriptor, 32, 0).strip()
    return int(content) if content.isdigit() and len(content) <= 10 else None


def _unusable(error: OSError, state_dir: Path) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"STATE_DIR {state_dir} cannot be used: {error.strerror}{where}; "
        "set it to a directory of your own, with space left"
    )
