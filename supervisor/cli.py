"""The command line: `clientsync-supervisor [options] command`."""

import difflib
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from procs.tether import forbid_core_dumps
from supervisor import __version__, exit_codes

COMMANDS = ("check", "reload", "start", "status", "stop", "uri", "verify")


class _Commands(click.Group):
    """Loads no command but the one that is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        # Nothing of what is loaded is garbage: not to look for it takes a tenth less.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(f"supervisor.commands.{name}"), name)
        finally:
            gc.enable()
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the command that a wrong one is like."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
            context.fail(f"no command {args[0]!r}; {advice}")

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what is worth a page of the manual."""
        from supervisor import manual

        manual.write(formatter)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run; what the file system refuses, even to take the output, is one line."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            with suppress(OSError):
                from procs.errors import describe

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
    from supervisor.commands.options import Options

    forbid_core_dumps()
    context.obj = Options(env_file, instance)
