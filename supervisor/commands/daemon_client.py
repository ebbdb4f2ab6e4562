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


def ask_daemon(options: Options, command: str, timeout_s: float) -> dict[str, Any]:
    """Return the daemon's answer to `command`. Ends the command where there is none."""
    settings, wrong = options.settings_to_find_daemon()
    path = settings.runtime_dir / f"{settings.instance}.sock"
    deadline = time.monotonic() + STARTING_S
    while True:
        try:
            answer = ask(path, command, timeout_s)
        except NotRunning:
            owner = ownership.owner(settings.state_dir, settings.instance)
        except NoAnswer:
            fail(exit_codes.FAILED, f"instance {settings.instance!r} gave no answer within {timeout_s:.0f} s")
        except OSError as error:
            fail(exit_codes.FAILED, f"{path}: {error.strerror}")
        else:
            if ANSWERED[command] not in answer:
                fail(exit_codes.FAILED, f"instance {settings.instance!r}: {answer.get('text')}")
            return answer
        if owner is None:
            fail(
                exit_codes.NOT_RUNNING,
                f"instance {settings.instance!r} is not running (looked in {settings.runtime_dir}"
                f"{wrong and f', for the settings are wrong: {wrong}'})",
            )
        if time.monotonic() > deadline:
            fail(exit_codes.FAILED, f"pid {owner.pid} owns {path}, but does not listen there")
        time.sleep(TRY_AGAIN_S)
