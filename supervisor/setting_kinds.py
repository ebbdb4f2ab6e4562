"""What a setting is, and the kinds of value it can have: how environs reads them, what they must be."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from environs import ValidationError, validate

from procs import anonymise, state
from supervisor import mongo_uri

MIN_KEY_BYTES = 16
LOOPBACK = "127.0.0.1"

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(rf"([0-9]{{1,9}})([{''.join(_SECONDS)}])")
_DATABASE = re.compile(r'[^/\\. "$]+')
_RESERVED_DATABASES = ("admin", "config", "local")


@dataclass(frozen=True)
class Kind:
    """`parser` is the name of a method of environs.Env; `options` are its arguments."""

    parser: str
    options: dict[str, Any] = field(default_factory=dict)


class Setting(NamedTuple):
    """A row of the table: name, what it must be, default, and the attribute of Settings that holds it."""

    name: str
    kind: Kind
    default: Any
    attribute: str


def whole_number(low: int, high: int, of: str = "") -> Kind:
    """Return the kind of the whole numbers from `low` to `high`; `of` is their unit, if any."""
    must = f"must be a whole number {of and f'of {of} '}from {low} to {high}"
    messages = {"invalid": must, "too_large": must}
    return Kind("int", {"validate": validate.Range(low, high, error=must), "error_messages": messages})


def milliseconds(low: int, high: int) -> Kind:
    """Return the kind of the durations from `low` to `high`."""
    return whole_number(low, high, of="milliseconds")


def duration(low: str, high: str) -> Kind:
    """Return the kind of the durations from `low` to `high`; `seconds` tells how long one is."""

    def check(text: str) -> None:
        # Without its unit a number would be read in milliseconds by some, and in seconds by others.
        if not _DURATION.fullmatch(text) or not seconds(low) <= seconds(text) <= seconds(high):
            raise ValueError(f"must be a duration from {low} to {high}, such as 15m, 6h or 1d")

    return _checked("str", check)


def seconds(text: str) -> int:
    """Return the length of a duration like `15m`."""
    return int(text[:-1]) * _SECONDS[text[-1]]


def one_of(*words: str) -> Kind:
    """Return the kind that is one of `words`, exactly as written here."""
    return Kind("str", {"validate": validate.OneOf(words, error=f"must be one of {', '.join(words)}")})


def _checked(parser: str, check: Callable[[Any], None], **options: Any) -> Kind:
    """Return the kind of what `check` lets through without a ValueError."""

    def validator(value: Any) -> None:
        try:
            check(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    return Kind(parser, {"validate": validator, **options})


def _check_database(name: str) -> None:
    if not _DATABASE.fullmatch(name) or len(name.encode()) > 63:
        raise ValueError('must be a database name: at most 63 bytes, without / \\ . " $ or a blank')
    if name.lower() in _RESERVED_DATABASES:
        raise ValueError(f"must be a database of your own, not one of {', '.join(_RESERVED_DATABASES)}")


def _check_collection(name: str) -> None:
    if "$" in name or ".." in name or name.startswith((".", "system.")) or name.endswith("."):
        raise ValueError(
            "must be a collection name: without $, no dot at either end, not beginning with system."
        )
    if name == state.NAME:
        raise ValueError(f"must be another collection: {state.NAME} is where clientsync keeps its checkpoint")


def address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`, or of a port of this machine. ValueError: what it must be."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host = LOOPBACK
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in host and bare == host) or not set(bare).isdisjoint(" /@[]"):
        raise ValueError("must be host:port such as 127.0.0.1:9464 or [::1]:9464, or a port alone")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise ValueError("must end with a port from 1 to 65535, such as 127.0.0.1:9464")
    return bare, int(port)


def _check_address(text: str) -> None:
    if text:
        address(text)


def _check_directory(path: Path) -> None:
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise ValueError("must be a path written out in full: ~ stands for nothing here")


def _check_locale(locale: str) -> None:
    from faker.config import AVAILABLE_LOCALES  # a tenth of a second: not for those who keep the default

    if locale not in AVAILABLE_LOCALES:
        raise ValueError("must be a locale that Faker knows, such as en_US, de_DE or ja_JP")


def _check_fields(fields: Sequence[str]) -> None:
    if any("://" in field for field in fields):  # what is wrong with a path is told with the path
        raise ValueError(
            "must be paths of fields, separated by commas; a connection string belongs in MONGO_URI"
        )
    anonymise.check_fields(fields)


def _check_key(key: bytes) -> None:
    anonymise.check_key(key)
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(
            f"must have at least {MIN_KEY_BYTES} bytes (`openssl rand -hex 32` makes a good key)"
        )


ADDRESS = _checked("str", _check_address)
DIRECTORY = _checked("path", _check_directory)
DATABASE_NAME = _checked("str", _check_database)
COLLECTION_NAME = _checked("str", _check_collection)
LOCALE = _checked("str", _check_locale)
FIELD_PATHS = _checked("list", _check_fields, subcast=str.strip)
URI = _checked("str", mongo_uri.check)
YES_OR_NO = Kind("bool", {"error_messages": {"invalid": "must be true or false"}})
KEY = _checked("__call__", _check_key)
