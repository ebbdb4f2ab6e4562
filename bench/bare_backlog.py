"""The floor of a backlog: what reading, anonymising and writing take in two processes. It promises nothing.

`python -m bench.bare_backlog URI DATABASE TOKEN` reads the stream from TOKEN to its end. A second process
copies whom it names, a thousand in a snapshot transaction and two of these at once, by the product's own
commands; left out are checkpoint, lease, fence, acknowledgements, counters and the supervisor.
"""

import multiprocessing
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.client_session import ClientSession

from procs import rawbson, writes
from procs.anonymise import Anonymiser
from procs.changestream import ChangeStream
from procs.checkpoint import Position
from procs.config import Database, Policy
from procs.messages import Id
from procs.pair import Pair, by_id
from procs.transactions import MAJORITY, SNAPSHOT
from supervisor.settings import SENSITIVE

BATCH, AT_ONCE = 1000, 2
AWAIT_MS = 10
FRESH = 2 * BATCH
"""So many of those named last wait: they may be named again."""


class Copier:
    """One of those that copy at once, each with a session of its own."""

    def __init__(self, client: "MongoClient[dict[str, Any]]", database: Database) -> None:
        self._pair, self._anonymiser = Pair(client, database), Anonymiser(Policy(SENSITIVE))
        self._session = client.start_session()

    def copy(self, ids: Sequence[Id]) -> "Copier":
        """Put the images of these customers in the place of what is there; return itself, free again."""
        self._session.with_transaction(partial(self._replace, ids), SNAPSHOT, MAJORITY)
        return self

    def _replace(self, ids: Sequence[Id], session: ClientSession) -> None:
        source = self._pair.read_some(self._pair.source, ids, session) or []
        images = by_id(rawbson.split(self._anonymiser.all(source)))
        writes.replace_each(self._pair.mirror, images, session)


def read(database: Database, token: Any) -> None:
    """Have all that has changed since `token` copied."""
    fork = multiprocessing.get_context("fork")
    theirs, ours = fork.Pipe(duplex=False)
    writer = fork.Process(target=write, args=(database, theirs))
    writer.start()
    theirs.close()
    with MongoClient[dict[str, Any]](database.uri) as client:
        stream, full = ChangeStream(client, database, Position(token)), True
        while full:
            batch = stream.next_batch(AWAIT_MS)
            ours.send(batch.changed)
            full = batch.full
        ours.send(None)
        stream.close()
    writer.join()
    assert writer.exitcode == 0, "the writer failed"


def write(database: Database, pipe: "Connection[Any, Any]") -> None:
    """Copy whom `pipe` names, each once, until it says None."""
    waiting: dict[Id, None] = {}
    under_way: deque[Future[Copier]] = deque()
    with MongoClient[dict[str, Any]](database.uri) as client, ThreadPoolExecutor(AT_ONCE) as threads:
        more = True
        while more:
            named = pipe.recv()
            more = named is not None
            waiting.update(dict.fromkeys(named or ()))
            while len(waiting) > (FRESH if more else 0):
                free = len(under_way) < AT_ONCE
                copier = Copier(client, database) if free else under_way.popleft().result()
                some = list(islice(waiting, BATCH))
                for id_ in some:
                    del waiting[id_]
                under_way.append(threads.submit(copier.copy, some))
        for each in under_way:
            each.result()


if __name__ == "__main__":
    uri, name, token = sys.argv[1:]
    read(Database(uri, name, "customers", "customers_anonymised"), json_util.loads(token))
