"""The real command line as a subprocess: in a directory of its own, with an environment of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "supervisor")
ENDS_S = 60
TRACES = ("Traceback (most recent call last)", 'File "', "Exception in ", "RuntimeWarning", "Fatal Python")


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that it printed on stderr."""
        assert len(self.err.splitlines()) == 1, self
        return self.err.splitlines()[0]


@dataclass(frozen=True)
class CommandLine:
    """Runs commands in `directory` (working directory and HOME), with `settings` in the environment.

    `secrets` must never show up in what a command or a daemon prints.
    """

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    command: Sequence[str] = COMMAND
    before: Sequence[str] = ()
    """What comes before the command: `setpriv …`, say."""

    @property
    def state_dir(self) -> Path:
        """Where the daemon keeps its things."""
        return Path(self.settings.get("STATE_DIR", self.directory / "state"))

    def having(self, **settings: str) -> "CommandLine":
        """Return a copy with more settings."""
        return replace(self, settings={**self.settings, **settings})

    def __call__(self, *arguments: str, timeout_s: float = ENDS_S) -> Ended:
        """Run a command to its end."""
        completed = subprocess.run(
            [*self.before, *self.command, *arguments],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        ended = Ended(completed.returncode, completed.stdout.decode(), completed.stderr.decode())
        self.assert_fit_to_be_seen(ended.out + ended.err)
        return ended

    def spawn(self, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Run a command in the background, in a session of its own."""
        return subprocess.Popen(
            [*self.before, *self.command, *arguments],
            cwd=self.directory,
            env=self.environment(),
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def environment(self) -> dict[str, str]:
        """Return PATH, HOME, and nothing else but settings."""
        given = {"HOME": str(self.directory), "STATE_DIR": str(self.state_dir), **self.settings}
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "COVERAGE_PROCESS_START", "PYTHONPATH")
            if name in os.environ
        }
        return {**kept, **given}

    def assert_fit_to_be_seen(self, text: str) -> None:
        """Fail if people would see an inner failing of the program, or something that they must not see."""
        shown = [each for each in (*TRACES, *self.secrets) if each in text]
        assert not shown, f"{shown} in {text}"


def left_behind(state_dir: Path) -> list[str]:
    """Return what a refused start should not have left: anything but the lock file, free again."""
    return sorted(path.name for path in state_dir.glob("*") if not path.name.endswith(".lock"))
