"""The commands that look at MongoDB themselves, beside the daemon or without it: check, verify, uri."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from procs import mongod, preflight
from procs.errors import PermanentError, TemporaryError, describe
from procs.mongo import connect, is_unavailable, permanent
from procs.verify import verify as compare
from supervisor.exit_codes import DONE, FAILED, PERMANENT
from supervisor.settings import Settings, redact

Client = MongoClient[dict[str, Any]]


def check(settings: Settings) -> int:
    """Print a line for each thing that a start needs: ok, or what to do. FAILED if any is wrong."""
    faults = [_tell("state directory", lambda: _check_state_directory(settings))]
    if settings.embedded:
        faults.append(_tell("embedded server", lambda: str(mongod.find())))
    if any(faults):
        return FAILED
    try:
        with _client(settings, "check") as client:
            # Each check rests on the one before: after the first that fails the others would only repeat it.
            for name, examine in preflight.CHECKS:
                if _tell(name, lambda examine=examine: examine(client, settings.database)):
                    return FAILED
    except (PermanentError, TemporaryError) as error:
        click.echo(f"WRONG  {'server':16} {error}")
        return FAILED
    return DONE


def verify(settings: Settings, *, as_json: bool) -> int:
    """Compare the whole mirror with the source and print what is wrong with it; FAILED if anything is."""
    try:
        with _client(settings, "verify") as client:
            preflight.require(client, settings.database)
            verdict = compare(client, settings.sync, _show_progress)
    except PyMongoError as error:
        return _complain(_explain(error, settings))
    except (PermanentError, TemporaryError) as error:
        return _complain(error)
    if as_json:
        click.echo(json.dumps({"version": 1, "clean": verdict.clean, **asdict(verdict)}))
    else:
        click.echo(" ".join(f"{name}={count}" for name, count in asdict(verdict).items()))
    return DONE if verdict.clean else FAILED


def uri(settings: Settings) -> int:
    """Print the connection string, password included."""
    try:
        click.echo(mongod.prepare(settings.server.directory) if settings.server else settings.database.uri)
    except PermanentError as error:
        return _complain(error)
    return DONE


@contextmanager
def _client(settings: Settings, role: str) -> Iterator[Client]:
    """Yield a client; the embedded server is started for as long as that takes if it does not run."""
    if settings.server is None:
        with connect(settings.database, role) as client:
            yield client
        return
    with mongod.running(settings.server.directory) as found:
        settings = settings.with_uri(found)
        with connect(settings.database, role) as client:
            yield client


def _tell(name: str, examine: Any) -> bool:
    """Print what `examine` finds; return whether it is wrong."""
    try:
        click.echo(f"ok     {name:16} {examine()}")
    except PyMongoError as error:
        told = permanent(error)
        click.echo(f"WRONG  {name:16} {told or _unreachable(error)}")
        return True
    except PermanentError as error:
        click.echo(f"WRONG  {name:16} {error}")
        return True
    return False


def _check_state_directory(settings: Settings) -> str:
    directory = settings.state_dir
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PermanentError(f"STATE_DIR: {existing} is not a directory that this user may write")
    return str(directory)


def _explain(error: PyMongoError, settings: Settings) -> Exception:
    if told := permanent(error):
        return told
    where = redact(settings.database.uri) if settings.database.uri else "the embedded server"
    return TemporaryError(f"MONGO_URI: {where}: {_unreachable(error)}")


def _unreachable(error: PyMongoError) -> str:
    if is_unavailable(error):
        return "no primary can be reached; is the server running, and its replica set initiated?"
    return describe(error)


def _complain(error: Exception) -> int:
    click.echo(str(error), err=True)
    return PERMANENT if isinstance(error, PermanentError) else FAILED


def _show_progress(compared: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{compared} compared", nl=False, err=True)
