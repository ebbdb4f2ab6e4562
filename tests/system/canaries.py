"""Customers whose every value is found again wherever it turns up, and the places that are searched."""

import base64
import secrets
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import Binary, Code, Decimal128, Int64, ObjectId, Regex
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from procs import state
from procs.config import Database
from procs.mongo import RAW
from tests.system.command_line import CommandLine, Ended
from tests.system.daemon_process import DaemonProcess, processes_of
from tests.system.twins import Customer

KINDS = (
    *("text", "not ascii", "list", "lists", "document", "number", "float", "decimal", "binary", "id", "date"),
    *("regex", "code", "code in scope"),
)
"""What a field of a customer may hold."""

SERVERS_OWN = ("mongod/data", "mongod/password", "mongod/keyFile")
"""What the embedded MongoDB keeps: the customers themselves, and its own secrets."""


class Flock:
    """Values that nobody else has, each known by what it is."""

    def __init__(self) -> None:
        self._needles: dict[bytes, str] = {}

    def word(self, what: str) -> str:
        """Return a new word. It is plain ASCII, so that no way to write it down hides it."""
        word = f"Canary{secrets.token_hex(8)}"
        self._know(what, word.encode(), base64.b64encode(word.encode()), word.encode().hex().encode())
        return word

    def add(self, what: str, text: str) -> None:
        """Know a text that comes from elsewhere."""
        self._know(what, text.encode())

    def value(self, kind: str, what: str) -> Any:
        """Return a new value of one of KINDS."""
        what = f"{kind} in {what}"
        number = 10**17 + secrets.randbelow(10**17)
        match kind:
            case "not ascii":
                return f"Ü{self.word(what)} 李"
            case "list":
                return [self.word(what), None, self.word(what)]
            case "lists":
                return [[self.word(what), [{"deep": [self.word(what)]}]], 1]
            case "document":
                return {"inner": self.word(what), "list": [self.word(what), {"email": self.word(what)}]}
            case "number":
                self._know(what, str(number).encode(), struct.pack("<q", number))
                return Int64(number)
            case "float":
                self._know(what, repr(number / 1e9).encode(), struct.pack("<d", number / 1e9))
                return number / 1e9
            case "decimal":
                decimal = Decimal128(str(number))
                self._know(what, str(number).encode(), decimal.bid)
                return decimal
            case "binary":
                return Binary(self.word(what).encode())
            case "id":
                id_ = ObjectId()
                self._know(what, str(id_).encode(), id_.binary)
                return id_
            case "date":
                date = datetime(2050, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number // 10**6)
                ms = round(date.timestamp() * 1000)
                self._know(what, date.isoformat()[:19].encode(), str(ms).encode(), struct.pack("<q", ms))
                return date
            case "regex":
                return Regex(self.word(what))
            case "code":
                return Code(self.word(what))
            case "code in scope":
                return Code("f()", {"scope": self.word(what)})
        return self.word(what)

    def found_in(self, places: dict[str, bytes]) -> list[str]:
        """Return `what: where` of each canary that one of `places` holds."""
        return sorted(
            f"{what}: {where}"
            for where, content in places.items()
            for needle, what in self._needles.items()
            if needle in content
        )

    def _know(self, what: str, *needles: bytes) -> None:
        self._needles |= dict.fromkeys(needles, what)


@dataclass
class Aviary:
    """Canaries by where they may be. Nobody prints any of them."""

    sensitive: Flock = field(default_factory=Flock)
    """Nowhere but in the source."""
    carried: Flock = field(default_factory=Flock)
    """In source, mirror and, for an `_id`, state."""
    secrets: Flock = field(default_factory=Flock)
    """Nowhere but in the files and variables that the operator gave them in."""

    def customer(self, kind: str, *, unknown_is_carried: bool) -> Customer:
        """Return a customer whose every value is of one of KINDS, its `_id` aside."""

        def local_part(value: Any) -> Any:
            return f"{value}@{self.sensitive.word('email')}@example.com" if isinstance(value, str) else value

        def sensitive(what: str) -> Any:
            return self.sensitive.value(kind, what)

        def other(what: str) -> Any:
            return (self.carried if unknown_is_carried else self.sensitive).value(kind, what)

        address = {name: sensitive(name) for name in ("line1", "line2", "postcode")} | {"city": other("city")}
        addresses: dict[str, Any] = {"list": [address, 1, None], "text": other("address")}
        return {
            "_id": self.carried.word("_id"),
            "firstName": sensitive("firstName"),
            "lastName": sensitive("lastName"),
            "email": local_part(sensitive("email")),
            "address": addresses.get(kind, address),
            "notes": other("notes"),
            "nested": {"a": [{"b": other("nested")}]},
        }

    def customers(self, *, unknown_is_carried: bool) -> list[Customer]:
        return [self.customer(kind, unknown_is_carried=unknown_is_carried) for kind in KINDS]


class Places:
    """Everything that a daemon and the commands leave behind or show to others."""

    def __init__(self, cli: CommandLine, database: Database) -> None:
        self._cli, self._database = cli, database
        self._said: dict[str, bytes] = {}

    def ask(self, *arguments: str) -> Ended:
        """Run a command and keep what it prints."""
        ended = self._cli(*arguments)
        self._said[f"{' '.join(arguments)} #{len(self._said)}"] = (ended.out + ended.err).encode()
        return ended

    def keep(self, daemon: DaemonProcess) -> None:
        """Keep what the world sees of the processes of a daemon."""
        for pid in processes_of(daemon.pid):
            for name in ("cmdline", "environ", "comm"):
                self._said[f"{pid} {name} #{len(self._said)}"] = Path(f"/proc/{pid}/{name}").read_bytes()

    def shown(self) -> dict[str, bytes]:
        """Return all output, all that was kept, and every file (logs, ledger, stacks, cores, …)."""
        files = {
            str(path.relative_to(self._cli.directory)): path.read_bytes()
            for path in self._cli.directory.rglob("*")
            if path.is_file() and not any(name in str(path) for name in SERVERS_OWN)
        }
        return {**self._said, **files}

    def state(self) -> dict[str, bytes]:
        return self._collection(state.NAME)

    def mirror(self) -> dict[str, bytes]:
        return self._collection(self._database.mirror)

    def _collection(self, name: str) -> dict[str, bytes]:
        with MongoClient[RawBSONDocument](self._database.uri, timeoutMS=30_000) as client:
            documents = client[self._database.name].get_collection(name, codec_options=RAW).find()
            return {f"{name} {number}": bytes(each.raw) for number, each in enumerate(documents)}
