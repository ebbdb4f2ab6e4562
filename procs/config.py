"""What each child is told, as frozen values; `supervisor.settings` fills them from the environment.

A field marked LIVE is applied by a running child as soon as a reload brings a new value; a change of
any other field restarts the child.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LIVE: dict[str, Any] = {"live": True}

UnknownFields = Literal["copy", "drop", "hash"]
OnDrop = Literal["keep", "empty"]


@dataclass(frozen=True)
class Database:
    """Where the source and the mirror are. `uri` may hold a password: it never shows in a repr."""

    uri: str = field(repr=False)
    name: str
    source: str
    mirror: str
    timeout_ms: int = 10_000
    """Bound of one database call (and of one transaction), so that no child waits for ever."""


@dataclass(frozen=True)
class Policy:
    """Which fields are sensitive and how their clear text is replaced.

    `fields` are dotted paths; `key` switches from SHA-256 to HMAC-SHA-256; `length` is the number of
    hexadecimal characters kept (8..64); `unknown` decides over the fields that no policy names.
    """

    fields: tuple[str, ...]
    key: bytes | None = field(default=None, repr=False)
    length: int = 8
    unknown: UnknownFields = "copy"


@dataclass(frozen=True)
class ServerConfig:
    """The embedded MongoDB: its data, log, port and secrets live in `directory` (0700)."""

    directory: Path


@dataclass(frozen=True)
class WebConfig:
    """Where the web child listens, and what `/readyz` lets pass."""

    host: str
    port: int
    ready_max_lag_ms: int = field(metadata=LIVE)


@dataclass(frozen=True)
class GeneratorConfig:
    """How many fake customers, how often. `delay_ms` 0 means as fast as it goes."""

    database: Database
    locale: str
    seed: int | None
    delay_ms: int = field(metadata=LIVE)
    batch_min: int = field(metadata=LIVE)
    batch_max: int = field(metadata=LIVE)


@dataclass(frozen=True)
class SyncConfig:
    """What listener, scanner and writer share."""

    database: Database
    instance: str
    node: str
    """Tells instances of one name on several machines apart: host name and state directory."""
    policy: Policy
    on_drop: OnDrop
    lease_ms: int
    batch_size: int = field(metadata=LIVE)
    flush_inserts: int = field(metadata=LIVE)
    flush_ms: int = field(metadata=LIVE)
    rest_s: float = field(metadata=LIVE)
    """For how long scanner and writer may give no beat while they wait, as HANG_TIMEOUT_MS allows."""

    @property
    def holder(self) -> str:
        """What this instance is called in the state, for instance as the holder of the lease."""
        return f"{self.instance}@{self.node}"


@dataclass(frozen=True)
class VerifierConfig(SyncConfig):
    """The same, and how often the mirror is verified. `repair`: what differs is then copied again."""

    every_s: int = field(metadata=LIVE)
    repair: bool = field(metadata=LIVE)
