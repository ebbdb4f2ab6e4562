"""The floor of the live side, run as a process of its own: watch, read again, replace. It promises nothing.

`python -m bench.bare URI DATABASE loop` mirrors one event at a time; prints "ready" once it watches.
`python -m bench.bare URI DATABASE transactions` does so in a snapshot transaction each, which R1 rests on.
`python -m bench.bare URI DATABASE processes` does that in a second process, told over a pipe what changed.
`python -m bench.bare URI DATABASE fenced` reads a registration in each transaction besides, as R4 asks.
`python -m bench.bare URI DATABASE batches TOKEN UNTIL` catches up from a resume token in batches, each
customer once a batch, and ends when it has seen UNTIL events.
"""

import itertools
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from bson import json_util
from pymongo import MongoClient, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from bench.lab import RAW

KEY_ONLY: list[dict[str, Any]] = [{"$project": {"documentKey": 1}}]
MIRROR = "customers_anonymised"
BATCH = 1000


def loop(database: "Database[Any]") -> None:
    """Mirror, unchanged, whatever changes, until killed."""
    source = database.get_collection("customers", codec_options=RAW)
    mirror = database.get_collection(MIRROR, codec_options=RAW)
    with database.customers.watch(KEY_ONLY) as stream:
        print("ready", flush=True)
        for event in stream:
            key = event["documentKey"]
            document = source.find_one(key)
            if document is not None:
                mirror.replace_one(key, document, upsert=True)


def transactions(database: "Database[Any]") -> None:
    """Do the same, each customer in a snapshot transaction: the least that R1 takes."""
    with copying(database) as copy, database.customers.watch(KEY_ONLY) as stream:
        print("ready", flush=True)
        for event in stream:
            copy(event["documentKey"])


def processes(database: "Database[Any]", uri: str, fenced: bool) -> None:
    """Do that in two processes, as a listener and a writer are: the least that these and R1 take (and R4)."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    spawn.Process(target=write, args=(uri, database.name, fenced, there), daemon=True).start()
    there.close()
    here.recv()
    with database.customers.watch(KEY_ONLY) as stream:
        print("ready", flush=True)
        for event in stream:
            here.send(event["documentKey"])


def write(uri: str, name: str, fenced: bool, pipe: "Connection[Any, Any]") -> None:
    """Copy what `pipe` names, until its other end is gone."""
    with MongoClient[Any](uri) as client, copying(client[name], fenced) as copy, suppress(EOFError):
        pipe.send("ready")
        while True:
            copy(pipe.recv())


@contextmanager
def copying(database: "Database[Any]", fenced: bool = False) -> Iterator[Callable[[Any], None]]:
    """Give what copies one customer in a snapshot transaction; `fenced`: which reads a registration first."""
    registrations = database["clientsync_state"]
    registered = registrations.insert_one({}).inserted_id
    source = database.get_collection("customers", codec_options=RAW)
    mirror = database.get_collection(MIRROR, codec_options=RAW)

    def replace(key: Any, session: ClientSession) -> None:
        if fenced:
            registrations.find_one({"_id": registered}, session=session)
        document = source.find_one(key, session=session)
        if document is not None:
            mirror.replace_one(key, document, upsert=True, session=session)

    def copy(key: Any) -> None:
        session.with_transaction(partial(replace, key), ReadConcern("snapshot"), WriteConcern("majority"))

    with database.client.start_session() as session:
        yield copy


def batches(database: "Database[Any]", token: Any, until: int) -> None:
    """Mirror, unchanged, what `until` events name from `token` on."""
    source = database.get_collection("customers", codec_options=RAW)
    mirror = database.get_collection(MIRROR, codec_options=RAW)
    with database.customers.watch(KEY_ONLY, resume_after=token, batch_size=BATCH) as stream:
        while until:
            events = list(itertools.islice(stream, min(BATCH, until)))
            until -= len(events)
            ids = list({event["documentKey"]["_id"] for event in events})
            mirror.bulk_write(
                [ReplaceOne({"_id": each["_id"]}, each) for each in source.find({"_id": {"$in": ids}})],
                ordered=False,
            )


def main(uri: str, name: str, how: str, *arguments: str) -> None:
    """Be the floor."""
    with MongoClient[Any](uri) as client:
        if how == "loop":
            loop(client[name])
        elif how == "transactions":
            transactions(client[name])
        elif how in ("processes", "fenced"):
            processes(client[name], uri, fenced=how == "fenced")
        else:
            token, until = arguments
            batches(client[name], json_util.loads(token), int(until))


if __name__ == "__main__":
    main(*sys.argv[1:])
