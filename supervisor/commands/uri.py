"""`uri`: the connection string, for mongosh or Compass."""

import click

from procs import mongod
from procs.errors import PermanentError
from supervisor import exit_codes
from supervisor.commands.options import Options, fail, pass_options


@click.command(short_help="Print how to connect, password included.")
@pass_options
def uri(options: Options) -> None:
    """Print how to connect, password included: for the owner of STATE_DIR only."""
    settings = options.settings_or_fail()
    try:
        click.echo(mongod.prepare(settings.server.directory) if settings.server else settings.database.uri)
    except PermanentError as error:
        fail(exit_codes.PERMANENT, str(error))
