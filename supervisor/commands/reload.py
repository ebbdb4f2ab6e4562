"""`reload`: SIGHUP by name, and what came of it."""

import click

from supervisor import exit_codes
from supervisor.commands.daemon_client import ask_daemon
from supervisor.commands.options import Options, fail, pass_options

ANSWER_S = 120.0
"""Children that have to restart may take their time to stop and to start."""


@click.command(short_help="Have the daemon read its settings again.")
@pass_options
def reload(options: Options) -> None:
    """Have the daemon read its settings again; wait until they are in force.

    Exit code 1: they are wrong and the old ones stay, or a child does not run on them.
    """
    answer = ask_daemon(options, "reload", ANSWER_S)
    if not answer.get("ok"):
        fail(exit_codes.FAILED, str(answer.get("text")))
    click.echo(answer.get("text"))
