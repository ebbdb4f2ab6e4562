"""What systemd is told: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html."""

import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping
from typing import Self

UNSENT_MAX = 100
"""Kept until the next round: without its READY a start, or a reload, would never be over."""


class Notifier:
    """Sends to NOTIFY_SOCKET, or nowhere when systemd did not start us. Never waits, never fails."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """`watchdog_s` is the time within which systemd wants to hear from us."""
        # The first byte of an abstract address is NUL, which no environment variable can hold.
        self._address = f"\0{address[1:]}" if address and address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket:
            self._socket.setblocking(False)
        self.watchdog_s = watchdog_s
        self._status = ""
        self._unsent: deque[bytes] = deque(maxlen=UNSENT_MAX)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Self:
        """Take what systemd has set out of `environ`, so that no child speaks for us."""
        address = environ.pop("NOTIFY_SOCKET", None)
        usec = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        ours = usec.isdigit() and int(usec) > 0 and pid in {"", str(os.getpid())}
        return cls(address, int(usec) / 1e6 if ours and address else None)

    def ready(self) -> None:
        """The sync runs (again)."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, even if it was refused."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The stop begins."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """A round of the loop was completed."""
        self._flush()
        if self.watchdog_s and not self._unsent:
            self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """A start or stop may take `seconds` more from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`; sent only when it is new."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()

    def _send(self, *fields: str) -> None:
        self._unsent.append("\n".join(fields).encode(errors="replace"))
        self._flush()

    def _flush(self) -> None:
        """Send all that is unsent, or as much as the queue takes: often ten datagrams, of all services."""
        try:
            while self._unsent and self._socket and self._address:
                self._socket.sendto(self._unsent[0], self._address)
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
