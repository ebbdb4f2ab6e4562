"""All settings: one table, and the frozen values that are read from it."""

import re
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from procs.config import (
    Database,
    GeneratorConfig,
    Policy,
    ServerConfig,
    SyncConfig,
    VerifierConfig,
    WebConfig,
)
from procs.lifeline import BEAT_EVERY_S
from supervisor import env_file as dotenv
from supervisor.env_file import SettingsError
from supervisor.mongo_uri import redact
from supervisor.setting_kinds import (
    ADDRESS,
    COLLECTION_NAME,
    DATABASE_NAME,
    DIRECTORY,
    FIELD_PATHS,
    KEY,
    LOCALE,
    URI,
    YES_OR_NO,
    Setting,
    address,
    duration,
    milliseconds,
    one_of,
    seconds,
    whole_number,
)
from supervisor.setting_sources import Sources

__all__ = ["SETTINGS", "LogFormat", "Settings", "SettingsError", "load", "redact"]

LogFormat = Literal["json", "console"]

HOUR, DAY = 3_600_000, 86_400_000
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SENSITIVE = ("firstName", "lastName", "email", "address.line1", "address.line2", "address.postcode")

# fmt: off
SETTINGS = (
    # name                         must be                     default                 held as
    Setting("MONGO_URI",           URI,                        "",                     "database.uri"),
    Setting("MONGO_DB",            DATABASE_NAME,              "clientsync",           "database.name"),
    Setting("SOURCE_COLLECTION",   COLLECTION_NAME,            "customers",            "database.source"),
    Setting("MIRROR_COLLECTION",   COLLECTION_NAME,            "customers_anonymised", "database.mirror"),

    Setting("FAKER_FILLING_DELAY_MS", milliseconds(0, DAY),    200,                    "generator.delay_ms"),
    Setting("FAKER_BATCH_MIN",     whole_number(1, 10_000),    1,                      "generator.batch_min"),
    Setting("FAKER_BATCH_MAX",     whole_number(1, 10_000),    10,                     "generator.batch_max"),
    Setting("FAKER_LOCALE",        LOCALE,                     "en_US",                "generator.locale"),
    Setting("FAKER_SEED",          whole_number(0, 2**63 - 1), None,                   "generator.seed"),

    Setting("SYNC_BATCH_SIZE",     whole_number(1, 10_000),    1_000,                  "sync.batch_size"),
    Setting("SYNC_FLUSH_INSERTS",  whole_number(1, 100_000),   1_000,                  "sync.flush_inserts"),
    Setting("SYNC_FLUSH_MS",       milliseconds(1, HOUR),      1_000,                  "sync.flush_ms"),
    Setting("SYNC_ON_DROP",        one_of("keep", "empty"),    "keep",                 "sync.on_drop"),
    Setting("SYNC_LEASE_MS",       milliseconds(2_000, HOUR),   3_000,                  "sync.lease_ms"),

    Setting("ANON_FIELDS",         FIELD_PATHS,                SENSITIVE,              "sync.policy.fields"),
    Setting("ANON_KEY",            KEY,                        None,                   "sync.policy.key"),
    Setting("ANON_LENGTH",         whole_number(8, 64),        8,                      "sync.policy.length"),
    Setting("ANON_UNKNOWN_FIELDS", one_of("copy", "drop", "hash"), "copy",             "sync.policy.unknown"),

    Setting("VERIFY_EVERY",        duration("1s", "30d"),      "",                     "verify_every"),
    Setting("VERIFY_REPAIR",       YES_OR_NO,                  False,                  "verify_repair"),

    Setting("LOG_LEVEL",           one_of(*LEVELS),            "INFO",                 "log_level"),
    Setting("LOG_FORMAT",          one_of("json", "console"),  None,                   "log_format"),
    Setting("STATE_DIR",           DIRECTORY,                  None,                   "state_dir"),
    Setting("STOP_TIMEOUT_MS",     milliseconds(100, HOUR),    10_000,                 "stop_timeout_ms"),
    Setting("HANG_TIMEOUT_MS",     milliseconds(2_000, HOUR),  20_000,                 "hang_timeout_ms"),

    Setting("METRICS_ADDR",        ADDRESS,                    "",                     "metrics_addr"),
    Setting("READY_MAX_LAG_MS",    milliseconds(1, DAY),       30_000,                 "ready_max_lag_ms"),
)
# fmt: on

REST_MAX_S = 5.0
"""An idle child beats at least so often."""

WORK_S = 15
"""What wakes an idle child may keep it from a beat for so long: a call of MongoDB (10 s), and half again."""

NAMESPACE_BYTES = 255
"""MongoDB's bound of `database.collection`."""

_INSTANCE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """What one daemon runs on. `log_format` None means: console on a terminal, else json."""

    instance: str
    state_dir: Path
    runtime_dir: Path
    """Where the control socket is."""
    verify_every: str
    """A duration like `6h`; empty: off."""
    verify_repair: bool
    log_level: str
    log_format: LogFormat | None
    stop_timeout_ms: int
    hang_timeout_ms: int
    metrics_addr: str
    """`host:port`, or a port; empty: off."""
    ready_max_lag_ms: int
    database: Database
    server: ServerConfig | None
    """None when MONGO_URI names a server."""
    generator: GeneratorConfig
    sync: SyncConfig

    @property
    def web(self) -> WebConfig | None:
        """What the web child is told; None when METRICS_ADDR is empty."""
        return WebConfig(*address(self.metrics_addr), self.ready_max_lag_ms) if self.metrics_addr else None

    @property
    def verifier(self) -> VerifierConfig | None:
        """What the verifier is told; None when VERIFY_EVERY is empty."""
        if not self.verify_every:
            return None
        every_s = seconds(self.verify_every)
        return VerifierConfig(**vars(self.sync), every_s=every_s, repair=self.verify_repair)

    @property
    def embedded(self) -> bool:
        """Tell whether the MongoDB is our own; `database.uri` is then empty until `with_uri`."""
        return self.server is not None

    def with_uri(self, uri: str) -> "Settings":
        """Return a copy in which every config connects to `uri`."""
        database = replace(self.database, uri=uri)
        return replace(
            self,
            database=database,
            generator=replace(self.generator, database=database),
            sync=replace(self.sync, database=database),
        )


def load(env_file: Path | None, environ: Mapping[str, str], *, instance: str) -> Settings:
    """Return the settings of the daemon `instance`.

    `environ` (the process environment) wins over `env_file`; None stands for `.env` in the working
    directory, which may be absent. An empty value stands for the default. Raises SettingsError with all that
    is wrong.
    """
    path = env_file or Path(".env")
    sources = Sources(path, dotenv.read(path, required=env_file is not None), environ)
    values = sources.read(SETTINGS)
    problems = [*sources.problems, *_contradictions(values)]
    if not _INSTANCE.fullmatch(instance):
        problems.append(
            f"--instance {instance!r}: must be 1 to 64 letters, digits, _ - or dots, no dot first"
        )
    if problems:
        raise SettingsError(*problems)
    return _settings(values, environ, instance)


def embedded_server(state_dir: Path) -> ServerConfig:
    """Return the config of the MongoDB that belongs to `state_dir`."""
    return ServerConfig(directory=state_dir / "mongod")


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each pair of values that are right alone, but not together."""
    low, high = values.get("FAKER_BATCH_MIN"), values.get("FAKER_BATCH_MAX")
    if low and high and low > high:
        yield f"FAKER_BATCH_MIN={low} is more than FAKER_BATCH_MAX={high}"
    source, mirror = values.get("SOURCE_COLLECTION"), values.get("MIRROR_COLLECTION")
    if source and source == mirror:
        yield (
            f"SOURCE_COLLECTION and MIRROR_COLLECTION are both {source!r}: "
            "the mirror must be another collection, or it would overwrite the customers"
        )
    for name, collection in (("SOURCE_COLLECTION", source), ("MIRROR_COLLECTION", mirror)):
        database = values.get("MONGO_DB")
        if database and collection and len(f"{database}.{collection}".encode()) > NAMESPACE_BYTES:
            yield f"{name}: with MONGO_DB in front it must have at most {NAMESPACE_BYTES} bytes"


def _settings(values: Mapping[str, Any], environ: Mapping[str, str], instance: str) -> Settings:
    state_dir = _state_dir(values["STATE_DIR"], environ)
    held: dict[str, dict[str, Any]] = defaultdict(dict)
    for setting in SETTINGS:
        part, _, attribute = setting.attribute.rpartition(".")
        held[part][attribute] = values[setting.name]
    held[""]["state_dir"] = state_dir
    held["sync.policy"]["fields"] = tuple(held["sync.policy"]["fields"])
    database = Database(**held["database"])
    return Settings(
        **held[""],
        instance=instance,
        runtime_dir=_first_directory(environ, "RUNTIME_DIRECTORY") or state_dir,
        database=database,
        server=None if database.uri else embedded_server(state_dir),
        generator=GeneratorConfig(database=database, **held["generator"]),
        sync=SyncConfig(
            database=database,
            instance=instance,
            node=f"{socket.gethostname()}:{state_dir}",
            policy=Policy(**held["sync.policy"]),
            rest_s=_rest_s(values["HANG_TIMEOUT_MS"]),
            **held["sync"],
        ),
    )


def _rest_s(hang_timeout_ms: int) -> float:
    """Return for how long an idle child may give no beat and not count as hung with what it does next."""
    return max(BEAT_EVERY_S, min(REST_MAX_S, hang_timeout_ms // 1000 - WORK_S))


def _state_dir(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return STATE_DIR if given, else systemd's, else that of the XDG base directories."""
    if given is not None:
        return given.absolute()
    if by_systemd := _first_directory(environ, "STATE_DIRECTORY"):
        return by_systemd
    xdg = Path(environ.get("XDG_STATE_HOME", ""))
    if xdg.is_absolute():  # a relative one is to be ignored, says the specification
        return xdg / "clientsync"
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        raise SettingsError("STATE_DIR: must be set, this user has no home directory to keep it in") from None
    return home.absolute() / ".local" / "state" / "clientsync"


def _first_directory(environ: Mapping[str, str], name: str) -> Path | None:
    """Return the directory that systemd made; it separates several by colons."""
    first = environ.get(name, "").partition(":")[0]
    return Path(first).absolute() if first else None
