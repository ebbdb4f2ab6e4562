"""The command line: `clientsync-supervisor [options] command`."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from procs.errors import describe
from supervisor import __version__, exit_codes
from supervisor.commands.check import check
from supervisor.commands.options import Options
from supervisor.commands.reload import reload
from supervisor.commands.start import start
from supervisor.commands.status import status
from supervisor.commands.stop import stop
from supervisor.commands.uri import uri
from supervisor.commands.verify import verify


class _Commands(click.Group):
    def main(self, *args: Any, **options: Any) -> Any:
        """Run; what the file system refuses, even to take the output, is one line."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            with suppress(OSError):
                click.echo(f"{error.filename or 'output'}: {describe(error)}", err=True)
            # What is still buffered would fail again when Python ends.
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            sys.exit(exit_codes.FAILED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, readable=False),
    metavar="PATH",
    help="Settings as NAME=value lines; the environment wins.  [default: .env, if there is one]",
)
@click.option("--instance", metavar="NAME", help="Which daemon of this STATE_DIR.  [default: default]")
@click.version_option(__version__, prog_name="clientsync")
@click.pass_context
def main(context: click.Context, env_file: Path | None, instance: str | None) -> None:
    """Keep an anonymised mirror of a MongoDB collection, live."""
    context.obj = Options(env_file, instance)


for command in (start, status, reload, stop, check, verify, uri):
    main.add_command(command)
