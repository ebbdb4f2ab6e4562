"""`stop`: SIGTERM by name, and the end of the daemon awaited."""

import os
import select

import click

from supervisor import exit_codes
from supervisor.commands.daemon_client import ask_daemon
from supervisor.commands.options import Options, fail, pass_options

ANSWER_S = 5.0
MARGIN_S = 5.0


@click.command()
@pass_options
def stop(options: Options) -> None:
    """Stop the daemon; wait until it is gone."""
    answer = ask_daemon(options, "stop", ANSWER_S)
    pid, patience_s = int(answer["pid"]), float(answer["within_s"]) + MARGIN_S
    if not _is_gone(pid, patience_s):
        fail(
            exit_codes.FAILED,
            f"pid {pid} is still there after {patience_s:.0f} s; kill -9 {pid} loses nothing",
        )
    click.echo(f"stopped (pid {pid})")


def _is_gone(pid: int, timeout_s: float) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(process, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(process)
