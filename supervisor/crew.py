"""The processes behind the children: forks them, hears them, orders them about, buries them."""

import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from procs.messages import Beat, Failed, Finished, Reconfigure, Snapshot, Stop
from supervisor.child import Birth, Running, cause_of, fork_group
from supervisor.state import Exited
from supervisor.tree import Child, Pipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gone:
    """What is known of a process that has ended."""

    pid: int
    cause: str
    phase: str
    hung: bool = False


class Crew:
    """At most one live process for each row of the table."""

    def __init__(self, rows: Sequence[Child], pipes: Sequence[Pipe]) -> None:
        self.rows = rows
        self.running: dict[str, Running] = {}
        self.gone: dict[str, Gone] = {}
        """The last process of each child, where none runs."""
        self._pipes = pipes

    def waitables(self) -> list[Any]:
        """Return what becomes readable when a child speaks or ends."""
        processes = self.running.values()
        return [child.process.sentinel for child in processes] + [
            child.control for child in processes if not child.deaf
        ]

    def start(self, group: str, configs: Mapping[str, Any], birth: Birth) -> list[Exited]:
        """Fork the children of `group` on fresh pipes; return an exit for each that could not be forked."""
        rows = [row for row in self.rows if row.group == group]
        try:
            for child in fork_group(rows, self._pipes, configs, birth):
                self.running[child.name] = child
                told = {"child": child.name, "child_pid": child.pid}
                log.info("%s started", child.name, extra={"event": "child_started", **told})
        except OSError as error:
            missing = [row.name for row in rows if row.name not in self.running]
            gone = Gone(0, f"no process ({error.strerror})", "starting")
            self.gone |= dict.fromkeys(missing, gone)
            return [Exited(name, gone.cause, None, random.random()) for name in missing]
        return []

    def hear(self, ready: Sequence[Any]) -> Iterator[tuple[str, Beat | Failed | Finished]]:
        """Yield what the children whose pipe is `ready` have sent, and all last words of those that ended."""
        for child in list(self.running.values()):
            if child.control in ready or child.process.sentinel in ready:
                for message in child.receive():
                    yield child.name, message

    def bury(self, ready: Sequence[Any]) -> list[Exited]:
        """Return the exits behind the sentinels that are `ready`.

        Of several at once, a death by a signal comes first: it is likely to have caused the others.
        """
        dead = [child for child in self.running.values() if child.process.sentinel in ready]
        codes = sorted((self._bury(child), child.name) for child in dead)
        if os.getpid() == 1:
            self._bury_orphans()
        return [Exited(name, self.gone[name].cause, code, random.random()) for code, name in codes]

    def send(self, name: str, order: Stop | Reconfigure | Snapshot) -> None:
        """Send an order to a child if it lives."""
        if name in self.running:
            self.running[name].send(order)

    def dump(self, name: str, why: str) -> None:
        """Have a child write down its stacks."""
        if name in self.running:
            log.warning(
                "%s is %s: it will be replaced", name, why, extra={"event": "child_hangs", "child": name}
            )
            self.running[name].dump(why)

    def kill(self, *names: str) -> None:
        """End children with SIGKILL."""
        for name in names:
            if name in self.running:
                self.running[name].kill()

    def end(self) -> None:
        """Leave no process behind, however the loop ended."""
        self.kill(*self.running)
        for child in list(self.running.values()):
            self._bury(child)

    def beats(self) -> dict[str, Beat]:
        """Return the last sign of life of each child that gave one."""
        return {name: child.beat for name, child in self.running.items() if child.beat}

    def _bury_orphans(self) -> None:
        """As the first process of a container we inherit what others leave behind: zombies, unless buried."""
        ours = {child.pid for child in self.running.values()}
        with suppress(ChildProcessError):
            while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if dead.si_pid in ours:
                    return  # its sentinel has it buried in the next round
                os.waitpid(dead.si_pid, 0)

    def _bury(self, child: Running) -> int:
        del self.running[child.name]
        pid, phase = child.pid, child.beat.phase if child.beat else "starting"
        code = child.bury()
        self.gone[child.name] = Gone(pid, cause_of(code), phase, child.hung)
        return code
