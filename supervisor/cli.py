"""The command line: `clientsync-supervisor [options] command`."""

from pathlib import Path

import click

from supervisor import __version__
from supervisor.commands.check import check
from supervisor.commands.options import Options
from supervisor.commands.reload import reload
from supervisor.commands.start import start
from supervisor.commands.status import status
from supervisor.commands.stop import stop
from supervisor.commands.uri import uri
from supervisor.commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
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
