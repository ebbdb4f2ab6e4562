"""A real mongod for tests: as many as a test needs, each gone with the test process."""

import contextlib
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import mongod, tether
from tests.eventually import eventually

REPLICA_SET = "rs"
START_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MongodProcess:
    """mongod in `directory`; a replica set of one, unless `replica_set` is None (standalone).

    `user` and `password` switch authentication on and create a root of that name. Failpoints are enabled.
    `start` after `stop` or `kill` brings the same data back on the same port.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        replica_set: str | None = REPLICA_SET,
        user: str | None = None,
        password: str | None = None,
        port: int | None = None,
        cache_gb: float = 0.5,
        oplog_mb: int = 512,
    ) -> None:
        self.directory, self.options = directory, options
        self.replica_set, self.user, self.password = replica_set, user, password
        self.port = port or free_port()
        self.cache_gb, self.oplog_mb = cache_gb, oplog_mb
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        login = f"{self.user}:{self.password}@" if self.user else ""
        chosen = {"replicaSet": self.replica_set, "authSource": "admin" if self.user else None}
        query = "&".join(f"{key}={value}" for key, value in chosen.items() if value)
        return f"mongodb://{login}{self.address}/{'?' if query else ''}{query}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> Self:
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            tether.command(str(mongod.find()), *self._arguments()), stdout=subprocess.DEVNULL, process_group=0
        )
        try:
            eventually(self._answers, START_S, f"mongod, see {self.directory / 'mongod.log'}")
            if self.replica_set:
                self._initiate()
            if self.user:
                self._create_user()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> int:
        """Shut down cleanly; return the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, also when it is stopped (SIGSTOP) or gone already."""
        self._end(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def _arguments(self) -> list[str]:
        parameters = {
            "enableTestCommands": 1,
            "diagnosticDataCollectionEnabled": "false",
            "shutdownTimeoutMillisForSignaledShutdown": 100,
        }
        arguments = [
            "--dbpath",
            str(self.directory / "data"),
            "--logpath",
            str(self.directory / "mongod.log"),
        ]
        arguments += ["--logappend", "--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket"]
        arguments += ["--wiredTigerCacheSizeGB", str(self.cache_gb)]
        if self.replica_set:
            arguments += ["--replSet", self.replica_set, "--oplogSize", str(self.oplog_mb)]
        if self.user:
            arguments += ["--auth"]
        if self.user and self.replica_set:
            key = self.directory / "key"
            key.write_text("0123456789abcdef")
            key.chmod(0o600)
            arguments += ["--keyFile", str(key)]
        for name, value in parameters.items():
            arguments += ["--setParameter", f"{name}={value}"]
        return [*arguments, *self.options]

    def _connect(self) -> MongoClient[dict[str, Any]]:
        # A new one each time: a client that has seen the server before replSetInitiate believes for seconds
        # that it knows no sessions.
        return MongoClient(self.address, directConnection=True, timeoutMS=2000)

    def _hello(self) -> dict[str, Any]:
        with self._connect() as client:
            reply: dict[str, Any] = client.admin.command("hello")
            return reply

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"mongod exited with {self.process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _initiate(self) -> None:
        if "setName" not in self._hello():
            config = {"_id": self.replica_set, "members": [{"_id": 0, "host": self.address}]}
            with self._connect() as client:
                client.admin.command("replSetInitiate", config)
        eventually(lambda: self._hello().get("isWritablePrimary"), START_S, "a writable primary")

    def _create_user(self) -> None:
        # Fails when it is there already: logging in below tells.
        with contextlib.suppress(PyMongoError), self._connect() as client:
            client.admin.command("createUser", self.user, pwd=self.password, roles=["root"])
        with MongoClient[dict[str, Any]](self.uri, timeoutMS=5000) as client:
            client.admin.command("ping")


def mongods_of(directory: Path) -> list[int]:
    """Return the pids of the live mongods whose data are in `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (entry / "cmdline").read_bytes()
            if f"--dbpath={directory}/data".encode() in arguments.split(b"\0"):
                found.append(int(entry.name))
    return found
