"""`status`: how the running daemon and its children are."""

import json
import time
from contextlib import nullcontext
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.live import Live

from supervisor import STATUS_VERSION, exit_codes, screen
from supervisor.commands.daemon_client import Unanswered, answer_of_daemon
from supervisor.commands.options import Options, fail, pass_options

ANSWER_S = 5.0
WATCH_EVERY_S = 1.0


@click.command(short_help="Show how the mirror and each child is.")
@click.option("--json", "as_json", is_flag=True, help="For programs; `version` is that of the format.")
@click.option("--watch", is_flag=True, help="Once a second, until Ctrl-C or until the daemon is gone.")
@click.pass_context
@pass_options
def status(options: Options, context: click.Context, as_json: bool, watch: bool) -> None:
    """Show how the mirror is, how far it is, and each child with its last death.

    With --watch and --json: one line for each status.

    Exit code 0: healthy, 1: not (yet), 3: not running.
    """
    if watch:
        _watch(options, as_json=as_json)
    try:
        answer = _ask(options, as_json=as_json)
    except Unanswered as reason:
        fail(reason.exit_code, str(reason))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        screen.render(answer, Console())
    context.exit(exit_codes.DONE if answer["healthy"] else exit_codes.FAILED)


def _ask(options: Options, *, as_json: bool) -> dict[str, Any]:
    """Return the status, for people only one that can be shown. Raises Unanswered."""
    answer = answer_of_daemon(options, "status", ANSWER_S)
    if not as_json and answer.get("version") != STATUS_VERSION:
        raise Unanswered(
            exit_codes.FAILED,
            f"the daemon is clientsync {answer.get('clientsync')}, whose status is another one: "
            "restart it, or see --json",
        )
    return answer


def _watch(options: Options, *, as_json: bool) -> NoReturn:
    """Show one status after the other, until Ctrl-C or until there is none."""
    console = Console()
    # Without the thread that draws by itself: it would draw what is not new.
    live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
    try:
        with live if console.is_terminal and not as_json else nullcontext():
            while True:
                answer = _ask(options, as_json=as_json)
                if as_json:
                    click.echo(json.dumps(answer))
                elif console.is_terminal:
                    live.update(screen.view(answer, narrow=console.width < screen.NARROW), refresh=True)
                else:
                    screen.render(answer, console)
                time.sleep(WATCH_EVERY_S)
    except Unanswered as reason:
        fail(reason.exit_code, str(reason))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(exit_codes.DONE) from None
