"""A clientsync of its own for the demo: everything in one directory, which is gone afterwards."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from procs import tether

COMMAND = ("-m", "supervisor")
STARTS_S, ANSWERS_S, STOPS_S = 60.0, 60.0, 20.0
POLL_S = 0.05
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEPT = ("PATH", "LANG", "HOME")
"""What the daemon gets of our environment: a MONGO_URI in it is not for a demo."""

Record = dict[str, Any]


class DemoFailed(Exception):
    """One line for the one who watches."""


class Daemon:
    """The running daemon: `url` is its page, `uri` its MongoDB."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}/"
        self._directory, self._log = directory, directory / "daemon.log"
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        own = {"STATE_DIR": str(directory / "state"), "METRICS_ADDR": address, "LOG_FORMAT": "json"}
        self._environment = {**kept, **settings, **own}
        with self._log.open("wb") as log:
            # In a session of its own: Ctrl-C is ours, and we stop it in peace. Killed, we take it with us.
            self._process = subprocess.Popen(
                tether.command(sys.executable, *COMMAND, "start"),
                cwd=directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> str:
        """Return what a command of clientsync prints."""
        try:
            completed = subprocess.run(
                [sys.executable, *COMMAND, *arguments],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ANSWERS_S,
                check=False,
                text=True,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{' '.join(arguments)} takes too long:\n{self._last_words()}") from None
        return completed.stdout.strip() or completed.stderr.strip()

    def wait_until_healthy(self) -> None:
        """Wait for the first customers to flow. DemoFailed says why they do not."""
        self.wait_for(lambda: self.status().get("healthy"), STARTS_S, "clientsync does not get healthy")

    def status(self) -> Record:
        """Return what the page knows; empty where it does not answer."""
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"{self.url}status.json", timeout=2) as answer,
        ):
            return dict(json.load(answer))
        return {}

    def kill(self, child: str) -> float:
        """End a child with SIGKILL; return how many seconds later another one is at work."""
        pid = next((each["pid"] for each in self.status().get("children", ()) if each["name"] == child), None)
        if not pid:
            raise DemoFailed(f"{child} does not run")
        seen = len(self._records())
        killed_at = time.time()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

        def back() -> Record | None:
            ready = (each for each in self._records()[seen:] if each.get("event") == "child_ready")
            return next((each for each in ready if each.get("child") == child), None)

        record: Record = self.wait_for(back, STARTS_S, f"{child} does not come back")
        return float(datetime.fromisoformat(record["time"]).timestamp() - killed_at)

    def wait_for(self, condition: Callable[[], Any], timeout_s: float, failure: str) -> Any:
        """Return the first true value of `condition`; DemoFailed when time is out or the daemon ends."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if self._process.poll() is not None:
                raise DemoFailed(f"clientsync has ended:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"{failure}:\n{self._last_words()}")
            time.sleep(POLL_S)
        return value

    def stop(self) -> int:
        """Stop it as systemd does; return its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(STOPS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _records(self) -> list[Record]:
        lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-3:])


@contextmanager
def running(settings: dict[str, str]) -> Iterator[Daemon]:
    """Yield a daemon with a MongoDB; both are stopped, and their files removed, however the block ends."""
    with tempfile.TemporaryDirectory(prefix="clientsync-demo-") as directory:
        daemon = Daemon(Path(directory), settings)
        try:
            yield daemon
        finally:
            # Whoever is impatient now would only leave something behind.
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
            daemon.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
