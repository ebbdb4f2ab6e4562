"""The real command as a subprocess: its own STATE_DIR, an environment of its own, every wait bounded."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.mongod_process import mongods_of

COMMAND = Path(sys.executable).with_name("clientsync-supervisor")
ENDS_S = 30
TRACES = ("Traceback (most recent call last)", 'File "', "Exception in ", "RuntimeWarning", "Fatal Python")

Record = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it printed on stderr."""
        return self.err.splitlines()

    @property
    def line(self) -> str:
        """The one line that it printed on stderr."""
        assert len(self.lines) == 1, self
        return self.lines[0]


@dataclass
class CommandLine:
    """Runs commands in `directory` (working directory and HOME), with `settings` in the environment.

    `secrets` must never show up in what a command prints.
    """

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    before: Sequence[str] = ()
    """What comes before the command: `setpriv …`, say."""

    @property
    def state_dir(self) -> Path:
        """Where the daemon keeps its things."""
        return Path(self.settings.get("STATE_DIR", self.directory / "state"))

    def __call__(self, *arguments: str, timeout_s: float = ENDS_S, **settings: str) -> Ended:
        """Run a command to its end."""
        completed = subprocess.run(
            [*self.before, COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        ended = Ended(completed.returncode, completed.stdout.decode(), completed.stderr.decode())
        assert_no_traceback_and_no_secret(ended.out + ended.err, self.secrets)
        return ended

    @contextlib.contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator["Started"]:
        """Run `start` with more arguments in the background; killed at the latest when this ends."""
        number = len(list(self.directory.glob("started-*.out")))
        out, err = (self.directory / f"started-{number}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*self.before, COMMAND, *arguments],
                cwd=self.directory,
                env=self.environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            yield Started(process, out, err, self.secrets)
        finally:
            process.kill()
            process.wait()
            eventually(lambda: not mongods_of(self.state_dir / "mongod"), message="the end of mongod")
            assert_no_traceback_and_no_secret(out.read_text() + err.read_text(), self.secrets)

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """Return PATH, HOME, and nothing else but settings."""
        given = {"STATE_DIR": str(self.state_dir), **self.settings, **settings}
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LOG_FORMAT": "json", **given}


@dataclass(frozen=True)
class Started:
    """A daemon in the background. Its files grow while it runs."""

    process: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path
    secrets: list[str]

    def records(self, event: str | None = None, level: str | None = None) -> list[Record]:
        """Return the whole lines that were logged so far, as objects."""
        lines = self.out_file.read_text().splitlines(keepends=True)
        logged: list[Record] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [
            record
            for record in logged
            if event in (None, record["event"]) and level in (None, record["level"])
        ]

    def wait_for(self, event: str, timeout_s: float = 20) -> Record:
        """Return the first record of `event`, as soon as it is there."""
        found: list[Record] = eventually(lambda: self.records(event) or self._gone(), timeout_s, event)
        return found[0]

    def at_work(self, *children: str, timeout_s: float = 20) -> None:
        """Wait until these children are at work."""

        def ready() -> bool:
            return set(children) <= {record["child"] for record in self.records("child_ready")}

        eventually(lambda: ready() or self._gone(), timeout_s, f"{children} at work")

    def pid_of(self, child: str) -> int:
        """Return the process of a child, by the log."""
        pid: int = [each for each in self.records("child_started") if each["child"] == child][-1]["child_pid"]
        return pid

    def ends(self, timeout_s: float = ENDS_S) -> Ended:
        """Wait until it ends by itself."""
        return Ended(self.process.wait(timeout_s), self.out_file.read_text(), self.err_file.read_text())

    def stop(self) -> Ended:
        """Ask it to stop, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends()

    def _gone(self) -> bool:
        assert self.process.poll() is None, self.ends()
        return False


def assert_no_traceback_and_no_secret(text: str, secrets: Sequence[str]) -> None:
    """Fail if people would see an inner failing of the program, or something that they must not see."""
    shown = [trace for trace in TRACES if trace in text] + [secret for secret in secrets if secret in text]
    assert not shown, f"{shown} in {text}"


def left_behind(state_dir: Path) -> list[str]:
    """Return what a refused start should not have left: anything but the lock file, free again."""
    return sorted(path.name for path in state_dir.glob("*") if not path.name.endswith(".lock"))
