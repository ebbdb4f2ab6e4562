"""Children on real pipes, each in a thread, with the test as their supervisor."""

import threading
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, Self

from procs import copier, listener, reindexer, scanner, writer
from procs.config import Database, Policy, SyncConfig
from procs.errors import describe
from procs.lifeline import Lifeline
from procs.messages import Beat, Stop
from tests.eventually import eventually

CONTEXT = get_context("fork")
POLICY = Policy(fields=("firstName", "email"))


def sync_config(database: Database, **changes: Any) -> SyncConfig:
    values: dict[str, Any] = {
        "database": database,
        "instance": "test",
        "node": "here",
        "policy": POLICY,
        "on_drop": "keep",
        "lease_ms": 3000,
        "batch_size": 100,
        "flush_inserts": 1000,
        "flush_ms": 50,
        "rest_s": 5,
    }
    return SyncConfig(**{**values, **changes})


class Running:
    """One child in a thread: its last beat, its outcome, and the orders it can be given."""

    def __init__(self, target: Callable[..., None], config: Any, **pipes: Any) -> None:
        self.control, its_end = CONTEXT.Pipe()
        self.error: BaseException | None = None
        self._last = Beat("unstarted", 0, None, False)
        self._life = Lifeline(its_end, config)
        self._thread = threading.Thread(target=self._run, args=(target, pipes), daemon=True)
        self._thread.start()

    def _run(self, target: Callable[..., None], pipes: Any) -> None:
        try:
            target(self._life, **pipes)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    @property
    def beat(self) -> Beat:
        """The newest sign of life."""
        while self.control.poll():
            message = self.control.recv()
            if isinstance(message, Beat):
                self._last = message
        return self._last

    @property
    def mirrored(self) -> int:
        """How many customers it has mirrored."""
        counters = self.beat.meters.counters.items()
        return sum(number for (name, _), number in counters if name == "customers_mirrored")

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        self.control.send(Stop())

    def stop(self, timeout_s: float = 20) -> None:
        if self.alive:
            self.ask_to_stop()
        self._thread.join(timeout_s)
        assert not self.alive, "the child did not stop"
        if self.error is not None:
            raise AssertionError(describe(self.error)) from self.error


class SyncGroup:
    """The three children of the group `sync`, started and stopped as the supervisor does it."""

    def __init__(self, config: SyncConfig) -> None:
        self._config = config

    def __enter__(self) -> Self:
        self._pipes = [*CONTEXT.Pipe(), *CONTEXT.Pipe()]
        to_scanner, from_listener_1, to_writer, from_listener_2 = self._pipes
        self.scanner = Running(scanner.run, self._config, inserted=from_listener_1)
        self.writer = Running(writer.run, self._config, changed=from_listener_2)
        self.listener = Running(listener.run, self._config, inserted=to_scanner, changed=to_writer)
        return self

    def __exit__(self, *_: object) -> None:
        for child in (self.listener, self.scanner, self.writer):
            child.stop()
        for pipe in self._pipes:
            pipe.close()


def reindex(config: SyncConfig) -> BaseException | None:
    """Have a reindexer and its copiers walk everything; return what the reindexer failed with, if it did."""
    ends = {name: CONTEXT.Pipe() for name in ("first", "second")}
    copiers = [Running(copier.run, config, **{name: theirs}) for name, (_, theirs) in ends.items()]
    reindexer_ = Running(reindexer.run, config, **{name: ours for name, (ours, _) in ends.items()})
    eventually(lambda: not reindexer_.alive)
    for each in copiers:
        each.stop()
    for ours, theirs in ends.values():
        ours.close()
        theirs.close()
    return reindexer_.error
