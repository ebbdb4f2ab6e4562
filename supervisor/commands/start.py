"""`start`: the life of the daemon, from the first blocked signal to the exit code."""

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from setproctitle import setproctitle

from procs import mongod, web
from procs.errors import PermanentError
from supervisor import __version__, exit_codes, logs, ownership, signals
from supervisor.commands.options import Options, fail, pass_options
from supervisor.control import ControlServer
from supervisor.daemon import Daemon, Outfit
from supervisor.ledger import Ledger
from supervisor.notify import Notifier
from supervisor.progress import ReindexProgress
from supervisor.settings import Settings, SettingsError, embedded_server
from supervisor.tree import Mode

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)

REINDEX_INSTANCE = "full"
"""A `start --full` without a name of its own takes this, or full-2, full-3, …: the first that is free."""


@click.command(short_help="Run everything or only a part of it.")
@click.argument("part", type=click.Choice(["app", "sync"]), required=False)
@click.option("--full", is_flag=True, help="Compare and repair the whole mirror, then exit.")
@click.option("--dev", is_flag=True, help="Logs for debugging, readable.")
@pass_options
def start(options: Options, part: str | None, full: bool, dev: bool) -> None:
    """Run in the foreground: everything, or only the generator (app) or the mirror (sync)."""
    signals.block()
    # Locks, ledger, stacks and the mongod's files are the owner's alone.
    os.umask(0o077)
    if full and part == "app":
        raise click.UsageError("--full is about the mirror: it does not go with app")
    mode = Mode.FULL if full else Mode(part or "all")
    try:
        code = run(options, mode, dev=dev)
    except SettingsError as error:
        fail(exit_codes.PERMANENT, *error.problems)
    except PermanentError as error:
        fail(exit_codes.PERMANENT, str(error))
    except ownership.AlreadyRunning as error:
        fail(exit_codes.FAILED, str(error))
    sys.exit(code)


def run(options: Options, mode: Mode, *, dev: bool) -> int:
    """Own the instance, prepare what children need, run the loop; return the exit code.

    Raises SettingsError, PermanentError or AlreadyRunning before anything is forked.
    """
    settings = read_settings(options, dev=dev)
    if mode is Mode.FULL and options.instance is None:
        owned = ownership.acquire_first_free(settings.state_dir, REINDEX_INSTANCE)
        settings = read_settings(options, owned.instance, dev=dev)
    else:
        owned = ownership.acquire(settings.state_dir, settings.instance)
    console = terminal()
    log_format = logs.choose_format("console" if dev else settings.log_format, console is not None)
    logs.configure(
        settings.log_level, log_format, process="supervisor", instance=settings.instance, debug=dev
    )
    setproctitle(f"clientsync: supervisor ({settings.instance})")

    def read_again() -> Settings:
        return connected(read_settings(options, settings.instance, dev=dev), settings.state_dir)

    # Takes a moment, and only a daemon needs it.
    from supervisor.topology import CHILDREN, PIPES

    notifier = Notifier.from_environ(os.environ)
    if settings.web and mode is not Mode.FULL:
        web.check(settings.web)
    started = connected(settings, settings.state_dir)
    control = open_control(settings)
    try:
        told = {"mode": mode.value, "version": __version__, "supervisor_pid": os.getpid()}
        log.info("clientsync %s starts", __version__, extra={"event": "starting", **told})
        if settings.sync.policy.key is None and mode is not Mode.APP:
            log.warning(
                "the hashes are unkeyed: a dictionary finds the names behind them; set ANON_KEY_FILE",
                extra={"event": "unkeyed"},
            )
        outfit = Outfit(
            mode=mode,
            children=[row for row in CHILDREN if mode in row.modes],
            pipes=PIPES,
            read_settings=read_again,
            log_format=log_format,
            debug=dev,
            control=control,
            ledger=Ledger(settings.state_dir / f"{settings.instance}.deaths.jsonl"),
            notifier=notifier,
            progress=ReindexProgress(console) if mode is Mode.FULL else None,
        )
        return Daemon(started, outfit).run()
    finally:
        control.close()
        owned.release()


def terminal() -> "Console | None":
    """Return the terminal that standard output is; None if it is none."""
    if sys.stdout is None or not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
        return None
    from rich.console import Console  # takes a while to load

    console = Console()
    return console if console.is_terminal else None


def read_settings(options: Options, instance: str | None = None, *, dev: bool) -> Settings:
    """Return the settings, at log level DEBUG under --dev. Raises SettingsError."""
    settings = options.settings(instance)
    return replace(settings, log_level="DEBUG") if dev else settings


def connected(settings: Settings, state_dir: Path) -> Settings:
    """Return `settings` with the URI of the embedded server in `state_dir`, if that is to be used.

    What is wrong with it is a PermanentError here, as one line, and not later in a child.
    """
    if not settings.embedded:
        return settings
    mongod.find()
    return settings.with_uri(mongod.prepare(embedded_server(state_dir).directory))


def open_control(settings: Settings) -> ControlServer:
    """Listen on the control socket. Raises SettingsError."""
    path = settings.runtime_dir / f"{settings.instance}.sock"
    try:
        settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ControlServer(path)
    except OSError as error:
        raise SettingsError(
            f"the control socket {path} cannot be made: {error.strerror}; remove what is in its place, "
            "or mend the rights of its directory"
        ) from None
