"""One child: forked with its own ends of the pipes, set apart from its parent, and told of its end."""

import ctypes
import faulthandler
import gc
import logging
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import IO, Any

from setproctitle import setproctitle

from procs.errors import PermanentError, describe
from procs.lifeline import Lifeline
from procs.messages import Beat, Failed, Finished, Reconfigure, Snapshot, Stop
from procs.tether import forbid_core_dumps
from supervisor import exit_codes, logs, signals
from supervisor.tree import Child, Pipe

log = logging.getLogger(__name__)

FORK = get_context("fork")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
STACKS_MAX_BYTES = 1_000_000
REASON_MAX = 1_000
"""A frame over 4 kB can be torn by a kill."""
MESSAGES_A_ROUND = 100

Ends = dict[str, "Connection[Any, Any]"]


@dataclass(frozen=True)
class Birth:
    """What every child of a daemon is told."""

    instance: str
    state_dir: Path
    log_level: str
    log_format: logs.Format
    debug: bool

    def stacks(self, child: str) -> Path:
        """Return the file in which a hung child writes down its stacks."""
        return self.state_dir / f"{self.instance}.{child}.stacks"


@dataclass
class Running:
    """The parent's side of one live child."""

    name: str
    process: ForkProcess
    control: "Connection[Any, Any]"
    stacks: Path
    born_at: float = field(default_factory=time.monotonic)
    beat: Beat | None = None
    beat_at: float = field(default_factory=time.monotonic)
    """When it gave that beat; before the first one, when it was born."""
    deaf: bool = False
    """Its control pipe is closed or broken."""
    hung: bool = False
    """It was silent for too long."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid or 0

    def receive(self) -> Iterator[Beat | Failed | Finished]:
        """Yield what it has sent; never waits."""
        for _ in range(MESSAGES_A_ROUND):
            try:
                if self.deaf or not self.control.poll():
                    return
                message = self.control.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self.deaf = True
                return
            if isinstance(message, Beat):
                self.beat, self.beat_at = message, time.monotonic()
            yield message

    def send(self, order: Stop | Reconfigure | Snapshot) -> None:
        """Send an order, or leave it out: a stopped child with a full pipe must not stop its parent."""
        try:
            # Writable is a pipe of which three quarters are free: room for far more than any of these.
            if select.select([], [self.control], [], 0)[1]:
                self.control.send(order)
                return
        except OSError:
            return  # it is about to end
        if isinstance(order, Snapshot):
            return  # the next one tells more
        log.warning(
            "%s does not take orders (%s)",
            self.name,
            type(order).__name__,
            extra={"event": "order_not_sent", "child": self.name},
        )

    def dump(self, why: str) -> None:
        """Have it write its stacks into the file, below a line that says why."""
        self.hung = True
        header = (
            f"\n{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self.name} (pid {self.pid}): {why}\n"
        )
        with suppress(OSError), self.stacks.open("a") as file:
            file.write(header)
        os.kill(self.pid, signal.SIGQUIT)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()

    def bury(self) -> int:
        """Take the exit code of a child whose sentinel has fired (negative: the signal)."""
        # One that merely closed its sentinel must not make us wait; an exit code that stands does not change.
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        self.control.close()
        return exit_codes.FAILED if code is None else code


def cause_of(code: int) -> str:
    """Return how a process ended, in words: `SIGKILL`, `exit code 1`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def fork_group(
    rows: Iterable[Child], pipes: Iterable[Pipe], configs: Mapping[str, Any], birth: Birth
) -> Iterator[Running]:
    """Fork the children of one group on fresh pipes, one by one. OSError where a fork or a pipe fails.

    The parent keeps no end of the pipes between children, so that the end of one child is seen by the other.
    """
    rows = list(rows)
    ends: dict[str, Ends] = {row.name: {} for row in rows}
    try:
        for pipe in pipes:
            if set(pipe.ends) <= ends.keys():
                for child, end in zip(pipe.ends, FORK.Pipe(), strict=True):
                    ends[child][pipe.name] = end
        for row in rows:
            yield _fork(row, configs[row.name], ends[row.name], birth)
    finally:
        for own in ends.values():
            for end in own.values():
                end.close()


def _fork(row: Child, config: Any, pipes: Ends, birth: Birth) -> Running:
    ours, theirs = FORK.Pipe()
    try:
        process = FORK.Process(
            target=_be, args=(row, config, theirs, pipes, birth, os.getpid(), _open_descriptors())
        )
        with signals.held():
            process.start()
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Running(row.name, process, ours, birth.stacks(row.name))


def _open_descriptors() -> list[int]:
    """Return what is open now. The one that lists them is closed again: its number is taken next."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    still_open = []
    for descriptor in listed:
        with suppress(OSError):
            os.fstat(descriptor)
            still_open.append(descriptor)
    return still_open


# From here on everything runs in the child.


def _be(
    row: Child,
    config: Any,
    control: "Connection[Any, Any]",
    pipes: Ends,
    birth: Birth,
    supervisor: int,
    inherited: list[int],
) -> None:
    own = {0, 1, 2, control.fileno(), *(pipe.fileno() for pipe in pipes.values())}
    _set_apart(supervisor, [descriptor for descriptor in inherited if descriptor not in own])
    setproctitle(f"clientsync: {row.name} ({birth.instance})")
    stacks = _dump_stacks_into(birth.stacks(row.name))
    logs.configure(
        birth.log_level, birth.log_format, process=row.name, instance=birth.instance, debug=birth.debug
    )
    life: Lifeline[Any] = Lifeline(control, config)
    code = _work(row, life, pipes)
    faulthandler.unregister(signal.SIGQUIT)
    if stacks is not None:
        stacks.close()
    sys.exit(code)


def _set_apart(supervisor: int, inherited: list[int]) -> None:
    """Share nothing with the supervisor but standard streams, and do not outlive it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(exit_codes.FAILED)  # it died before its death could be watched
    signal.set_wakeup_fd(-1)
    # A terminal, or `timeout`, sends them to the whole group: they are for the supervisor, which stops us.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    for descriptor in inherited:
        with suppress(OSError):
            os.close(descriptor)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    forbid_core_dumps()
    # What the supervisor has loaded stays in pages shared with it.
    gc.freeze()


def _dump_stacks_into(path: Path) -> IO[bytes] | None:
    try:
        file = path.open("ab")
        if file.tell() > STACKS_MAX_BYTES:
            file.truncate(0)
    except OSError:
        return None
    faulthandler.enable(file)
    faulthandler.register(signal.SIGQUIT, file)
    return file


def _work(row: Child, life: Lifeline[Any], pipes: Ends) -> int:
    try:
        row.target(life, **pipes)
    except PermanentError as error:
        return _confess(life, error, exit_codes.PERMANENT)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told, and nobody sees a traceback
        if isinstance(error, EOFError | BrokenPipeError | ConnectionResetError) and _partner_gone(pipes):
            # To end first would look as if this child were the culprit.
            life.outlive_partner()
            return exit_codes.DONE
        return _confess(life, error, exit_codes.FAILED)
    return exit_codes.DONE


def _confess(life: Lifeline[Any], error: Exception, code: int) -> int:
    life.failed(describe(error)[:REASON_MAX], permanent=code == exit_codes.PERMANENT)
    return code


def _partner_gone(pipes: Ends) -> bool:
    poller = select.poll()
    for pipe in pipes.values():
        poller.register(pipe, select.POLLHUP)
    return bool(poller.poll(0))
