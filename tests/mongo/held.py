"""A copy that has read and does not write yet, so that a test can let things happen in between."""

import threading
from collections.abc import Callable
from typing import Any, Self

from pymongo import MongoClient

from procs.config import Database
from procs.copied import Copied
from procs.mirror import Mirror
from procs.selection import Range

PATIENCE_S = 20


class HeldMirror(Mirror):
    """Stops once between reading and writing, at its first try."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.has_read, self.may_write = threading.Event(), threading.Event()
        self.tries = 0

    def register(self) -> None:
        """Register the session before the first transaction does."""
        self._transactions.register()

    def _copy_named(self, *arguments: Any) -> Copied | None:
        self.tries += 1
        return super()._copy_named(*arguments)

    def _copy_chunk(self, *arguments: Any) -> tuple[Copied, Range | None]:
        self.tries += 1
        return super()._copy_chunk(*arguments)

    def _replace_unread(self, *arguments: Any) -> int:
        self._hold()
        return super()._replace_unread(*arguments)

    def _write(self, *arguments: Any, **options: Any) -> Copied:
        self._hold()
        return super()._write(*arguments, **options)

    def _hold(self) -> None:
        self.has_read.set()
        assert self.may_write.wait(PATIENCE_S), "it was never let go"


class HeldCopy:
    """`action(mirror)` in a thread, from its first read on (enter) to its end (`let_go`)."""

    def __init__(
        self,
        client: MongoClient[Any],
        database: Database,
        anonymise: Callable[[bytes], bytes],
        action: Callable[[Mirror], object],
    ) -> None:
        self._mirror = HeldMirror(client, database, anonymise, keep=True)
        self._action = action
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def tries(self) -> int:
        """How often it has read."""
        return self._mirror.tries

    def register(self) -> None:
        """Register its session now already."""
        self._mirror.register()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._mirror.has_read.wait(PATIENCE_S), "it never read"
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._mirror.close()

    def let_go(self) -> None:
        """Have it write, and wait until it is done."""
        self._mirror.may_write.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._action(self._mirror)
        except BaseException as error:  # noqa: BLE001  # told by let_go
            self._error = error
