"""`verify`: is the mirror what it should be? It reads everything and writes nothing."""

import json
import sys
from dataclasses import asdict

import click
from pymongo.errors import PyMongoError

from procs import preflight
from procs.errors import PermanentError, TemporaryError
from procs.mongo import permanent
from procs.verify import Verdict
from procs.verify import verify as compare
from supervisor import exit_codes
from supervisor.commands.mongodb import explain, reach
from supervisor.commands.options import Options, fail, pass_options
from supervisor.settings import Settings

JSON_VERSION = 1


@click.command(short_help="Compare the whole mirror with the source.")
@click.option("--json", "as_json", is_flag=True, help="For programs; `version` is that of the format.")
@click.pass_context
@pass_options
def verify(options: Options, context: click.Context, as_json: bool) -> None:
    """Compare the whole mirror with the source, and count what is missing, stale, orphaned or unmirrorable.

    A daemon may run meanwhile: what is on its way is looked at again. Exit code 0: all is right, 1: not.
    """
    verdict = _verdict(options.settings_or_fail())
    figures = asdict(verdict)
    if as_json:
        click.echo(json.dumps({"version": JSON_VERSION, "clean": verdict.clean, **figures}))
    else:
        click.echo(" ".join(f"{name}={count}" for name, count in figures.items()))
    context.exit(exit_codes.DONE if verdict.clean else exit_codes.FAILED)


def _verdict(settings: Settings) -> Verdict:
    try:
        with reach(settings, "verify") as client:
            preflight.require(client, settings.database)
            return compare(client, settings.sync, _show_progress)
    except PyMongoError as error:
        fail(exit_codes.PERMANENT if permanent(error) else exit_codes.FAILED, explain(error))
    except PermanentError as error:
        fail(exit_codes.PERMANENT, str(error))
    except TemporaryError as error:
        fail(exit_codes.FAILED, str(error))


def _show_progress(compared: int) -> None:
    if sys.stderr and sys.stderr.isatty():
        click.echo(f"\r{compared} compared ", nl=False, err=True)
