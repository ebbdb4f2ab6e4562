"""A real systemd in namespaces: its own processes, cgroups, journal and file system, the network of the host.

It sees the root file system of the host and writes into memory. Everything in it ends with the test process.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from procs import tether
from tests.eventually import eventually
from tests.system.command_line import Ended

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_suffix(".sh")
SYSTEMD = Path("/lib/systemd/systemd")
PYTHON = Path("/usr/bin/python3")
"""Services are not allowed to see a Python below /root or /home."""
CHECKOUT = "/usr/src/clientsync"
PROGRAMS = ("unshare", "nsenter", "systemctl", "journalctl", "systemd-analyze")
NAMESPACES = ("--mount", "--pid", "--cgroup", "--ipc", "--uts")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
Environment = Mapping[str, str]
ROOTS: Environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"}
BOOT_S, RUN_S, INSTALL_S = 30, 60, 240
CGROUPS = next(
    (
        path
        for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"))
        if (path / "cgroup.procs").exists()
    ),
    None,
)
"""Where the version 2 cgroups are."""


def obstacle() -> str:
    """Return why no machine can be booted here, or an empty text."""
    if os.geteuid() != 0:
        return "root is needed"
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if absent or not SYSTEMD.exists():
        return f"not installed: {', '.join(absent) or 'systemd'}"
    if CGROUPS is None or not os.access(CGROUPS, os.W_OK):
        return "no version 2 cgroups that may be written"
    if not PYTHON.exists() or _fails(
        str(PYTHON), "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    ):
        return f"{PYTHON} is not a Python 3.11 or newer with venv"
    if _fails("unshare", *NAMESPACES, "--fork", "mount", "-t", "tmpfs", "probe", "/mnt"):
        return "namespaces and mounts are not allowed"
    return ""


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


class SystemdMachine:
    """Boots in `directory`; the checkout is at CHECKOUT, read-only."""

    def __init__(self, directory: Path) -> None:
        assert CGROUPS is not None
        self._directory = directory
        self._cgroup = CGROUPS / f"clientsync-tests-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        self._cgroup.mkdir()
        mounted = self._directory / "mounted"
        mounted.mkdir()
        log = self._directory / "boot.log"
        arguments = (str(SCRIPT), "enter", str(self._cgroup), str(mounted), str(ROOT))
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                tether.command("/bin/sh", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            number = eventually(lambda: self._booted_as(mounted / "pid", log), BOOT_S, "a process 1")
            self._pid = int(number)
            eventually(
                lambda: self.run("systemctl", "is-system-running").out == "running\n", BOOT_S, "booted"
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, *command: str, timeout_s: float = RUN_S, environment: Environment = ROOTS) -> Ended:
        """Run a command inside, as root."""
        completed = subprocess.run(
            ["nsenter", "--target", str(self._pid), "--all", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(completed.returncode, completed.stdout.decode(), completed.stderr.decode())

    def follow(self, commands: str) -> Ended:
        """Run shell commands in the checkout, up to the first that fails.

        The environment of the test is passed on: it may tell pip how to reach the package index.
        """
        script = f"cd {CHECKOUT}\n{commands}"
        return self.run("bash", "-euc", script, timeout_s=INSTALL_S, environment={**os.environ, **ROOTS})

    def path(self, inside: str) -> Path:
        """Return from where a path of the machine can be reached. Not through absolute symbolic links."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def _booted_as(self, file: Path, log: Path) -> str:
        assert self._process is not None
        assert self._process.poll() is None, log.read_text()
        text = file.read_text() if file.exists() else ""
        return text if text.endswith("\n") else ""

    def _end(self) -> None:
        if self._process:
            # The systemd, if there is one: its parent then ends by itself.
            os.kill(self._pid or self._process.pid, signal.SIGKILL)
            self._process.wait()
        eventually(self._removed, message=f"{self._cgroup} is empty")

    def _removed(self) -> bool:
        """Remove our cgroups, which is possible once the last process in them is gone."""
        try:
            for directory, _, _ in os.walk(self._cgroup, topdown=False):
                Path(directory).rmdir()
        except OSError:
            return False
        return True
