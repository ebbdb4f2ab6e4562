"""`status`: how the running daemon and its children are."""

import json

import click
from rich.console import Console

from supervisor import exit_codes
from supervisor.commands.daemon_client import ask_daemon
from supervisor.commands.options import Options, pass_options
from supervisor.status import render

ANSWER_S = 5.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; `version` is that of the format.")
@click.pass_context
@pass_options
def status(options: Options, context: click.Context, as_json: bool) -> None:
    """Show each child, the mirror and the last deaths.

    Exit code 0: healthy, 1: not (yet), 3: not running.
    """
    answer = ask_daemon(options, "status", ANSWER_S)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        render(answer, Console())
    context.exit(exit_codes.DONE if answer.get("healthy") else exit_codes.FAILED)
