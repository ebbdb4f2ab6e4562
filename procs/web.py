"""The child that shows the status to others: metrics, probes and a live page."""

import ipaddress
import logging
import os
import socket
from contextlib import suppress
from typing import Any

from procs.config import WebConfig
from procs.errors import PermanentError, TemporaryError
from procs.lifeline import BEAT_EVERY_S, Lifeline

log = logging.getLogger(__name__)

BACKLOG = 64
NICE = 5
"""However often it is asked, the mirror comes first."""


def run(life: Lifeline[WebConfig]) -> None:
    """Serve until told to stop. TemporaryError: the address has become somebody else's."""
    # They take a moment, and only this child needs them.
    from procs.httpd import HttpServer
    from procs.site import Site

    with suppress(OSError):  # a hardened systemd unit forbids it
        os.nice(NICE)
    config = life.config
    try:
        listening = listen(config.host, config.port)
    except OSError as error:
        raise TemporaryError(_refusal(config, error)) from None
    arrivals: Any = listening
    site = Site(config)
    shown = None
    with HttpServer(listening, site.answer) as server:
        log.info("serving at %s", url(config), extra={"event": "web_serving", "url": url(config)})
        life.beat("serving", ready=True)
        while not life.stopping:
            if life.wait(BEAT_EVERY_S, arrivals):
                server.handle_request()
            if life.status is not None and life.status is not shown:
                shown = life.status
                site.tell(shown, life.config)


def check(config: WebConfig) -> None:
    """Raise PermanentError, with the line for the operator, if nobody can listen where `config` says."""
    try:
        listen(config.host, config.port).close()
    except OSError as error:
        raise PermanentError(_refusal(config, error)) from None


def check_change(old: WebConfig | None, new: WebConfig | None) -> None:
    """Do the same for a change while `old` is served. PermanentError as `check`.

    The port that we hold ourselves says nothing, and to look up a name may take longer than a reload may.
    """
    if new is None or (old is not None and old.port == new.port) or not _is_address(new.host):
        return
    check(new)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there and never waits. OSError where that fails."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


def url(config: WebConfig) -> str:
    """Return where the live page is."""
    return f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{config.port}/"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _refusal(config: WebConfig, error: OSError) -> str:
    return f"METRICS_ADDR: cannot listen at {config.host} port {config.port}: {error.strerror}; set another"
