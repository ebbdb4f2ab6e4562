"""A terminal for a program under test: what it prints can be read, keys can be pressed."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from typing import Self

from tests.eventually import eventually
from tests.system.command_line import CommandLine

CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The screen side of a pseudo terminal on which one command runs in the foreground."""

    def __init__(self, cli: CommandLine, *arguments: str, columns: int = 100) -> None:
        self._screen, program_side = pty.openpty()
        fcntl.ioctl(program_side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        os.set_blocking(self._screen, False)
        self.written = b""
        try:
            self.process: subprocess.Popen[bytes] = cli.having(TERM="xterm").spawn(
                *arguments,
                stdin=program_side,
                stdout=program_side,
                stderr=program_side,
                # Makes it the controlling terminal: Ctrl-C reaches the whole foreground group.
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(program_side)

    @classmethod
    @contextlib.contextmanager
    def showing(cls, cli: CommandLine, *arguments: str) -> Iterator[Self]:
        """Run a command on a terminal of its own; killed at the latest when this ends."""
        terminal = cls(cli, *arguments)
        try:
            yield terminal
        finally:
            terminal.process.kill()
            terminal.process.wait()
            os.close(terminal._screen)

    @property
    def text(self) -> str:
        """All that was written so far, without colours and cursor movements."""
        with contextlib.suppress(BlockingIOError, OSError):  # OSError: the program is gone
            while chunk := os.read(self._screen, 65536):
                self.written += chunk
        return CONTROL_SEQUENCE.sub("", self.written.decode(errors="replace"))

    def shows(self, pattern: str, timeout_s: float = 30) -> str:
        """Wait until `pattern` was written; return what matched."""
        found = eventually(lambda: re.search(pattern, self.text), timeout_s, f"{pattern!r} in {self.text}")
        return str(found[0])

    def press(self, key: str) -> None:
        """Type a key: `\\x03` is Ctrl-C."""
        os.write(self._screen, key.encode())

    def ends(self, timeout_s: float = 30) -> int:
        """Return the exit code. What is still written is read meanwhile, or it would wait for us."""
        eventually(lambda: (self.text, self.process.poll() is not None)[1], timeout_s, "the end")
        return int(self.process.wait())
