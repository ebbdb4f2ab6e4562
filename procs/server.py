"""The child that owns the embedded mongod, or stands by while another instance owns it."""

import logging
import time

from procs import mongod
from procs.config import ServerConfig
from procs.errors import TemporaryError
from procs.hello import hello
from procs.lifeline import Lifeline

log = logging.getLogger(__name__)

PING_EVERY_S = 3.0
PING_S = 1.0
HANG_S = 10.0
"""A mongod that has not answered for so long is killed, and started again."""
TRY_EVERY_S = 1.0


def run(life: Lifeline[ServerConfig]) -> None:
    """Keep a writable primary in the directory of the config until told to stop.

    TemporaryError: mongod ended or hangs (and is dead when this returns); PermanentError as `procs.mongod`.
    """
    own = _stand_by(life)
    if own is None:
        return
    log.info("mongod is starting", extra={"event": "mongod_starting", "pid": own.pid, "port": own.home.port})
    try:
        life.beat("starting")
        while not life.stopping and not own.bring_up():
            life.wait(mongod.POLL_S, own.exited)
        if not life.stopping:
            log.info(
                "mongod is ready", extra={"event": "mongod_ready", "pid": own.pid, "port": own.home.port}
            )
            life.beat("running", ready=True)
            _watch(life, own)
    finally:
        if life.stopping:
            own.stop(mongod.STOP_S)
            log.info("mongod is stopped", extra={"event": "mongod_stopped", "pid": own.pid})
        else:
            own.kill()


def _stand_by(life: Lifeline[ServerConfig]) -> mongod.Mongod | None:
    """Return our own mongod as soon as nobody else owns one; None when told to stop before."""
    directory, answered = life.config.directory, False
    while not life.stopping:
        own = mongod.try_start(directory)
        if own is not None:
            return own
        # Logging in costs a client with its threads: once is enough.
        answered = answered or mongod.answers(directory)
        life.beat("shared", ready=answered)
        life.wait(TRY_EVERY_S if answered else mongod.POLL_S)
    return None


def _watch(life: Lifeline[ServerConfig], own: mongod.Mongod) -> None:
    heard_at = time.monotonic()
    ping_at = heard_at + PING_EVERY_S
    while not life.stopping:
        life.wait(ping_at - time.monotonic(), own.exited)
        own.check()
        if life.stopping or time.monotonic() < ping_at:
            continue
        try:
            hello(own.home.port, PING_S)
            heard_at = time.monotonic()
        except OSError as error:
            silence_s = time.monotonic() - heard_at
            if silence_s > HANG_S:
                raise TemporaryError(
                    f"the embedded MongoDB (pid {own.pid}) has not answered for {silence_s:.0f} s"
                ) from error
        own.bound_log()
        ping_at = time.monotonic() + PING_EVERY_S
