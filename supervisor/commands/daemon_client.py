"""Asks the running daemon, or says in one line why that was not possible."""

import time
from typing import Any

from supervisor import exit_codes, ownership
from supervisor.commands.options import Options, fail
from supervisor.control import NoAnswer, NotRunning, ask

STARTING_S = 5.0
"""A daemon that owns its name, but does not listen yet, is waited for."""
TRY_AGAIN_S = 0.05
ANSWERED = {"status": "healthy", "reload": "ok", "stop": "pid"}
"""What every answer to a command has, unless it was refused."""


class Unanswered(Exception):
    """There is no answer; the text says why in one line."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def ask_daemon(options: Options, command: str, timeout_s: float) -> dict[str, Any]:
    """Return the daemon's answer to `command`. Ends the command where there is none."""
    try:
        return answer_of_daemon(options, command, timeout_s)
    except Unanswered as reason:
        fail(reason.exit_code, str(reason))


def answer_of_daemon(options: Options, command: str, timeout_s: float) -> dict[str, Any]:
    """Return the daemon's answer to `command`. Raises Unanswered."""
    settings, wrong = options.settings_to_find_daemon()
    path = settings.runtime_dir / f"{settings.instance}.sock"
    deadline = time.monotonic() + STARTING_S
    while True:
        try:
            answer = ask(path, command, timeout_s)
        except NotRunning:
            owner = ownership.owner(settings.state_dir, settings.instance)
        except NoAnswer as error:
            raise Unanswered(
                exit_codes.FAILED,
                f"instance {settings.instance!r} gave no answer within {timeout_s:.0f} s; try again, "
                "or kill -9 it: that loses nothing",
            ) from error
        except OSError as error:
            raise Unanswered(exit_codes.FAILED, f"{path}: {error.strerror}; ask as its owner") from error
        else:
            if ANSWERED[command] not in answer:
                raise Unanswered(exit_codes.FAILED, f"instance {settings.instance!r}: {answer.get('text')}")
            return answer
        if owner is None:
            raise Unanswered(
                exit_codes.NOT_RUNNING,
                f"instance {settings.instance!r} is not running (looked in {settings.runtime_dir}"
                f"{wrong and f', for the settings are wrong: {wrong}'}); "
                "start it, or name another one with --instance or STATE_DIR",
            )
        if time.monotonic() > deadline:
            raise Unanswered(
                exit_codes.FAILED, f"pid {owner.pid} owns {path}, but does not listen there; try again"
            )
        time.sleep(TRY_AGAIN_S)
