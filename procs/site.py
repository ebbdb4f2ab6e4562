"""The paths that the web child answers, from the newest status of the supervisor."""

import base64
import hashlib
import ipaddress
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from procs.config import WebConfig
from procs.httpd import Answer
from procs.metrics import StatusCollector, Told
from procs.readiness import silence, unready

JSON, HTML = "application/json", "text/html; charset=utf-8"

HISTORY = 600
"""So many seconds of figures are kept for those who open the page later."""

HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Site:
    """Knows the newest status. `tell` is called by the work loop, `answer` by any thread."""

    def __init__(self, config: WebConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.config, self._clock = config, clock
        self._status: Mapping[str, Any] | None = None
        self._told_at: float | None = None
        self._history: deque[tuple[float, float | None, int | None]] = deque(maxlen=HISTORY)
        self._page = _page()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StatusCollector(self._metrics_told))
        self._paths: dict[str, Callable[[Mapping[str, str]], Answer]] = {
            "/": lambda _: self._page,
            "/healthz": lambda _: self._healthz(),
            "/readyz": lambda _: self._readyz(),
            "/metrics": self._metrics,
            "/status.json": lambda _: self._json(self._status),
            "/history.json": lambda _: self._json(list(self._history)),
        }

    def tell(self, status: Mapping[str, Any], config: WebConfig) -> None:
        """Take the newest status, and the config that is in force."""
        self._status, self.config, self._told_at = status, config, self._clock()
        sync = status.get("sync") or {}
        at = status.get("time")
        if at and sync.get("phase") is not None:
            seconds = datetime.fromisoformat(at).timestamp()
            self._history.append((seconds, sync.get("lag_s"), sync.get("mirrored_total")))

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Answer a GET; one that names a host which we cannot be is refused."""
        given = {name.lower(): value for name, value in headers.items()}
        if not self._is_us(given.get("host", "")):
            refused = "no such host here: ask by address, localhost, or the name in METRICS_ADDR"
            return Answer.line(HTTPStatus.MISDIRECTED_REQUEST, refused)
        if path not in self._paths:
            return Answer.line(HTTPStatus.NOT_FOUND, f"there is only {', '.join(self._paths)}")
        answer = self._paths[path](given)
        return answer._replace(headers=(*HEADERS, *answer.headers))

    def _is_us(self, host: str) -> bool:
        """Tell whether `host` is an address, or a name that nobody outside can point at this machine.

        A web page of somebody else may give its own name our address, to read what we answer.
        """
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        if "." not in name and ":" not in name:
            return True  # none at all, localhost, or a name of this network alone
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() == self.config.host.lower()
        return True

    def _silence(self) -> str:
        return silence(None if self._told_at is None else self._clock() - self._told_at)

    def _unready(self) -> str:
        return self._silence() or unready(self._status or {}, self.config.ready_max_lag_ms / 1000)

    def _healthz(self) -> Answer:
        if why := self._silence():
            return Answer.line(HTTPStatus.SERVICE_UNAVAILABLE, why)
        return Answer.line(HTTPStatus.OK, "ok")

    def _readyz(self) -> Answer:
        if why := self._unready():
            return Answer.line(HTTPStatus.SERVICE_UNAVAILABLE, " ".join(why.split()))
        return Answer.line(HTTPStatus.OK, "ready")

    def _metrics_told(self) -> Told:
        return Told(None if self._silence() else self._status, ready=not self._unready())

    def _metrics(self, headers: Mapping[str, str]) -> Answer:
        try:
            encode, content_type = choose_encoder(headers.get("accept", ""))
        except (ValueError, TypeError):  # prometheus-client on a version that is none
            return Answer.line(HTTPStatus.NOT_ACCEPTABLE, "Accept: no such format of metrics")
        return Answer(HTTPStatus.OK, encode(self._registry), content_type)

    def _json(self, value: Any) -> Answer:
        if value is None:
            return Answer.line(HTTPStatus.SERVICE_UNAVAILABLE, self._silence())
        return Answer(HTTPStatus.OK, json.dumps(value, default=str).encode(), JSON)


def _page() -> Answer:
    """Return the live page, in one piece: what it may run and how it looks is fixed by their hashes."""
    folder = files("procs") / "page"
    parts = {name: (folder / name).read_text("utf-8") for name in ("index.html", "style.css", "script.js")}
    page = parts["index.html"]
    for name, element in (("style.css", "style"), ("script.js", "script")):
        page = page.replace(f"<{element}></{element}>", f"<{element}>{parts[name]}</{element}>")
    policy = (
        f"default-src 'none'; script-src {_hash(parts['script.js'])}; style-src {_hash(parts['style.css'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Answer(HTTPStatus.OK, page.encode(), HTML, (("Content-Security-Policy", policy),))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
