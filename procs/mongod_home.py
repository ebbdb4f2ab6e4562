"""The directory of the embedded MongoDB: its data, log, lock, and the secrets that are made once."""

import contextlib
import os
import random
import re
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from procs.errors import PermanentError

USER = REPLICA_SET = "clientsync"
# Outside the range from which the kernel takes ports for outgoing connections.
PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Home:
    """What `open_home` found or made. The secrets never show in a repr."""

    directory: Path
    port: int
    password: str = field(repr=False)

    @property
    def uri(self) -> str:
        """The connection string, with the password."""
        return f"mongodb://{USER}:{self.password}@{self.address}/?replicaSet={REPLICA_SET}&authSource=admin"

    @property
    def address(self) -> str:
        """The one address that it listens on, and its name in the replica set."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Where mongod keeps the databases."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the present mongod wrote; `old_log` is what came before."""
        return self.directory / "mongod.log"

    @property
    def old_log(self) -> Path:
        """The one previous log that is kept."""
        return self.directory / "mongod.log.1"

    @property
    def lock(self) -> Path:
        """Locked (flock) by the running mongod itself."""
        return self.directory / "lock"

    @property
    def key_file(self) -> Path:
        """What members of a replica set know each other by; switches authentication on."""
        return self.directory / "keyFile"

    @property
    def port_file(self) -> Path:
        """Holds the port, chosen once."""
        return self.directory / "port"

    @property
    def password_file(self) -> Path:
        """Holds the password, made once."""
        return self.directory / "password"


def open_home(directory: Path) -> Home:
    """Make what is missing of `directory` (0700, files 0600) and return it; any number may do so at once.

    PermanentError names the file that is damaged or cannot be written.
    """
    directory = directory.absolute()
    with told(directory):
        for each in (directory.parent, directory / "data"):  # parents of a leaf are made without its mode
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        unfit = f"restore it, or move {directory} away to begin with an empty database"
        _made_once(directory / "keyFile", lambda: secrets.token_hex(32), r"[0-9a-f]{64}", unfit)
        password = _made_once(directory / "password", lambda: secrets.token_hex(24), r"[0-9a-f]{48}", unfit)
        port_file = directory / "port"
        another = "remove it, and another port is chosen"
        port = int(_made_once(port_file, _free_port, r"[1-9][0-9]{3,4}", another))
        if port > 65_535:
            raise PermanentError(f"{port_file} is damaged: {another}")
    return Home(directory, port, password)


@contextlib.contextmanager
def told(directory: Path) -> Iterator[None]:
    """Turn an OSError on a file in `directory` into the line for the operator."""
    try:
        yield
    except OSError as error:
        raise PermanentError(
            f"{error.filename or directory}: {error.strerror}; the embedded MongoDB needs {directory} "
            "writable, with space left, for the user that runs this (or set STATE_DIR to another place)"
        ) from error


def _made_once(path: Path, make: Callable[[], str], pattern: str, remedy: str) -> str:
    if not path.exists():
        _create(path, make())
    found = path.read_bytes().decode(errors="replace").strip()
    if re.fullmatch(pattern, found) is None:
        raise PermanentError(f"{path} is {'damaged' if found else 'empty'}: {remedy}")
    return found


def _create(path: Path, content: str) -> None:
    """Whoever comes first wins, and nobody ever sees half a file."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(content + "\n")
            stream.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()


def _free_port() -> str:
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)
    raise PermanentError(f"no free port found between {PORTS.start} and {PORTS.stop} on 127.0.0.1")
