"""`make demo`: DEMO_S (120) seconds of clientsync at work on fake customers, with sudden deaths."""

import math
import os
import signal
import sys
import time

import click
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from demo.daemon import ENDING, Daemon, DemoFailed, running
from demo.scenes import Customer, Scenes
from procs.errors import describe

PACE_S = 2.0
SETTINGS = {
    "FAKER_FILLING_DELAY_MS": "50",
    "FAKER_BATCH_MIN": "1",
    "FAKER_BATCH_MAX": "40",
    "SYNC_FLUSH_MS": "250",
    "VERIFY_EVERY": "20s",
}


def main() -> None:
    """Play until the time is over; exit code 0 if the mirror was right, or if Ctrl-C ended it before."""
    try:
        duration_s = float(os.environ.get("DEMO_S") or 120)
    except ValueError:
        duration_s = math.nan
    if not 0 < duration_s < math.inf:
        sys.exit("DEMO_S: must be a number of seconds, above 0")
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        with running(SETTINGS) as daemon:
            right = play(daemon, duration_s)
            click.echo("stopping")
    except KeyboardInterrupt:
        click.echo()  # what follows would stand behind the ^C
        right = True
    except (DemoFailed, PyMongoError) as error:
        sys.exit(str(error) if isinstance(error, DemoFailed) else describe(error))
    click.echo("nothing is left of it")
    sys.exit(0 if right else 1)


def play(daemon: Daemon, duration_s: float) -> bool:
    """Play one scene after the other; tell whether the mirror is right in the end."""
    click.echo("MongoDB, the generator and the mirror are starting ...")
    daemon.wait_until_healthy()
    began = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        click.echo(f"{minutes}:{seconds:02}  {line}")

    click.secho(f"look at it: {daemon.url}   ({duration_s:g} seconds; Ctrl-C ends it)", bold=True)
    with MongoClient[Customer](daemon.run("uri"), timeoutMS=30_000) as client:
        scenes = Scenes(daemon, client, say)
        for scene in scenes:
            scene()
            left_s = began + duration_s - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(PACE_S, left_s))
        verdict = daemon.run("verify")
        say(f"{scenes.kills} sudden deaths later, verify compares the whole: {verdict}")
    return "missing=0 stale=0 orphaned=0" in verdict


if __name__ == "__main__":
    main()
