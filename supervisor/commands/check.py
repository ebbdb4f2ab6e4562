"""`check`: would a start work? One line for each thing that it needs."""

import os
import tempfile
from collections.abc import Callable
from functools import partial

import click
from pymongo.errors import PyMongoError

from procs import mongod, preflight, web
from procs.errors import PermanentError, TemporaryError
from supervisor import exit_codes, ownership
from supervisor.commands.mongodb import explain, reach
from supervisor.commands.options import Options, pass_options
from supervisor.settings import Settings

PROBE_BYTES = 10_000
"""What a start writes at least: a pid, a ledger."""


@click.command(short_help="Say whether a start would work, or what to do.")
@click.pass_context
@pass_options
def check(options: Options, context: click.Context) -> None:
    """Examine settings, server, replica set and rights; say of each that it is ok, or what to do.

    Exit code 0: a start works, 1: it does not, 78: the settings are wrong.
    """
    settings = options.settings_or_fail()
    click.echo(f"ok     {'settings':16} {'embedded MongoDB' if settings.embedded else 'own MongoDB'}")
    context.exit(exit_codes.DONE if _everything(settings) else exit_codes.FAILED)


def _everything(settings: Settings) -> bool:
    """Print a line a check, up to the first that fails: each rests on those before it."""
    if not _tell("state directory", partial(_state_directory, settings)):
        return False
    if not _metrics_address(settings):
        return False
    if settings.embedded and not _tell("embedded server", lambda: str(mongod.find())):
        return False
    try:
        with reach(settings, "check") as client:
            return all(
                _tell(name, partial(examine, client, settings.database)) for name, examine in preflight.CHECKS
            )
    except (PermanentError, TemporaryError) as error:
        click.echo(f"WRONG  {'server':16} {error}")
        return False


def _tell(name: str, examine: Callable[[], str]) -> bool:
    """Print what `examine` finds; return whether it is right."""
    try:
        click.echo(f"ok     {name:16} {examine()}")
    except PyMongoError as error:
        click.echo(f"WRONG  {name:16} {explain(error)}")
    except PermanentError as error:
        click.echo(f"WRONG  {name:16} {error}")
    else:
        return True
    return False


def _metrics_address(settings: Settings) -> bool:
    config = settings.web
    if config is None or ownership.owner(settings.state_dir, settings.instance):
        return True  # off, or held by the daemon that runs

    def examine() -> str:
        web.check(config)
        return web.url(config)

    return _tell("metrics address", examine)


def _state_directory(settings: Settings) -> str:
    directory = settings.state_dir
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PermanentError(f"STATE_DIR: {existing} is not a directory that this user may write")
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        raise PermanentError(f"STATE_DIR: {existing}: {error.strerror}; make room, or set another") from None
    return str(directory)
