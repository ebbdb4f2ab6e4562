"""A supervisor over a process tree of our own, whose children do what a file tells them.

`python -m tests.system.small_tree DIRECTORY`: writing `crash` into DIRECTORY/<child>.do makes it crash.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from procs.errors import PermanentError
from procs.lifeline import Lifeline
from supervisor import logs, ownership, signals
from supervisor.control import ControlServer
from supervisor.daemon import Daemon, Outfit
from supervisor.ledger import Ledger
from supervisor.notify import Notifier
from supervisor.settings import Settings, load
from supervisor.tree import Child, Mode, Pipe

POLL_S = 0.02


def work(life: Lifeline[Path], name: str, **pipes: "Connection[Any, Any]") -> None:
    """Beat, and do as told, until a stop."""
    partner = None
    deaf = False
    order = life.config / f"{name}.do"
    for pipe in pipes.values():
        pipe.send(os.getpid())
        partner = pipe.recv()
    life.beat("live", ready=True, partner=partner)
    while deaf or not life.stopping:
        if order.exists():
            told = order.read_text()
            order.unlink()
            deaf = deaf or told == "be deaf"
            obey(life, told, pipes)
        life.wait(POLL_S)


def obey(life: Lifeline[Path], told: str, pipes: dict[str, "Connection[Any, Any]"]) -> None:
    match told:
        case "crash":
            raise ValueError("a customer's name")
        case "leave":
            sys.exit(0)
        case "give up":
            raise PermanentError("SOME_SETTING is wrong: mend it")
        case "hang":
            hang()
        case "wait for MongoDB":
            life.beat("waiting")
        case "go on":
            life.beat("live")
        case "finish":
            life.finished({"scanned": 3, "inserted": 1})
        case "tell":
            (life.config / "told.json").write_text(json.dumps(life.status))
        case "read":
            for pipe in pipes.values():
                pipe.recv()


def hang() -> NoReturn:
    while True:
        time.sleep(60)


def solo(life: Lifeline[Path]) -> None:
    work(life, "solo")


def left(life: Lifeline[Path], both: "Connection[Any, Any]") -> None:
    work(life, "left", both=both)


def right(life: Lifeline[Path], both: "Connection[Any, Any]") -> None:
    work(life, "right", both=both)


def web(life: Lifeline[Path]) -> None:
    work(life, "web")


EVERY = frozenset(Mode)
CHILDREN = (
    Child("solo", solo, EVERY, "solo", 1, "orders"),
    Child("left", left, EVERY, "pair", 1, "orders"),
    Child("right", right, EVERY, "pair", 2, "orders"),
    Child("web", web, EVERY, "web", 1, "orders"),
)
PIPES = (Pipe("both", ("left", "right")),)


@dataclass(frozen=True)
class TreeSettings(Settings):
    """The real settings, and what our children are configured with."""

    orders: Path


def settings_for(directory: Path) -> Settings:
    return TreeSettings(**vars(load(directory / ".env", os.environ, instance="default")), orders=directory)


def main(directory: Path) -> int:
    signals.block()
    settings = settings_for(directory)
    logs.configure("INFO", "json", process="supervisor", instance="default")
    owned = ownership.acquire(settings.state_dir, "default")
    control = ControlServer(settings.runtime_dir / "default.sock")
    outfit = Outfit(
        mode=Mode.APP,
        children=CHILDREN,
        pipes=PIPES,
        read_settings=lambda: settings_for(directory),
        log_format="json",
        debug=False,
        control=control,
        ledger=Ledger(settings.state_dir / "default.deaths.jsonl"),
        notifier=Notifier.from_environ(os.environ),
    )
    try:
        return Daemon(settings, outfit).run()
    finally:
        control.close()
        owned.release()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
