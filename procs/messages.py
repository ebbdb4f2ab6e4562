"""Everything that travels over a pipe. Each message is small: a frame over 4 kB can be torn by a kill.

An id is the raw BSON value of an `_id`: its type byte followed by the bytes of the value. It is exact
(1, 1.0 and NumberLong(1) differ), hashable, and needs no decoding.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from procs.meters import Readings

Id = bytes
Gauge = int | float | str | None
ScanKind = Literal["catch-up", "reindex"]

ID_OVERHEAD = 3
"""What pickle adds to an id of up to 255 bytes."""


# listener -> scanner, listener -> writer. `seq` grows by one with each message of a pipe.
@dataclass(frozen=True, slots=True)
class Inserted:
    """Customers that appeared: the scanner reads them at its next flush."""

    seq: int
    ids: tuple[Id, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """Customers that were updated, replaced or deleted: the writer mirrors them at once.

    `more`: the stream is behind and the next message follows at once; it may name the same customers.
    """

    seq: int
    ids: tuple[Id, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """Walk the collection, or (None) go on with a walk that was interrupted, if there is one.

    `term` is that of the lease under which this is asked for. Sent once a position was taken and the fence
    stands; acknowledged as soon as the walk is remembered.
    """

    seq: int
    kind: ScanKind | None
    term: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Mirror all that is pending now: the listener is about to stop."""

    seq: int


# scanner -> listener, writer -> listener
@dataclass(frozen=True, slots=True)
class Done:
    """All messages up to and including `seq` have a majority-committed effect; up to `read` they are read."""

    seq: int
    read: int


# child -> supervisor
@dataclass(frozen=True, slots=True)
class Outlook:
    """What the listener has found out about the way ahead (`procs.outlook`).

    Moments are seconds since 1970 by the server's clock, which showed `server_time` at `asked_at` of ours.
    """

    asked_at: float
    server_time: float
    holder: str | None
    """Who has the lease, or had it last."""
    term: int
    held: bool
    """It has not run out."""
    ours: bool
    standbys: tuple[str, ...]
    checkpoint_time: int | None
    """Of the position that is stored."""
    oplog_first: int | None
    oplog_last: int | None


@dataclass(frozen=True, slots=True)
class Beat:
    """Sign of life from the work loop.

    `work` counts completed rounds; `allowed_silence_s` is how long the next beat may take; `ready`
    tells that starting is over. `gauges` are figures for `status`, never a customer's data; nor are `meters`.
    """

    phase: str
    work: int
    allowed_silence_s: float | None
    ready: bool
    gauges: dict[str, Gauge] = field(default_factory=dict)
    meters: Readings = field(default_factory=Readings)
    outlook: Outlook | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Why the child ends by itself. `reason` is safe to print. `permanent`: a restart cannot mend it."""

    reason: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The child has done all that it was asked to do (a reindex), with its figures."""

    summary: dict[str, Gauge]


# supervisor -> child
@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what is in hand, then exit 0."""


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """A new config that differs from the present one in LIVE fields only, and the log level."""

    config: Any
    log_level: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `status --json` would tell now; sent about once a second to the child that shows it to others.

    It may be larger than other messages: its reader has a pipe of its own, a new one in each life.
    """

    status: dict[str, Any]


FRAME_BYTES = 3_000
"""Room for ids in one message: frames up to 3,500 bytes were never torn by a kill, from 5,000 on always."""

WINDOW = 32
"""Messages that may be unread in one pipe: together they fit into its socket buffer (208 kB)."""

AHEAD = 4 * WINDOW
"""Messages that may be unacknowledged: of what waits for a batch, each customer is mirrored once.

Two acknowledgements for each fit into the buffer, too: nobody reads them while the stream is waited for.
"""


def split_ids(ids: tuple[Id, ...]) -> list[tuple[Id, ...]]:
    """Return `ids` in parts that fit into one message each."""
    parts: list[tuple[Id, ...]] = []
    begin, size = 0, 0
    for end, id_ in enumerate(ids):
        if size and size + len(id_) + ID_OVERHEAD > FRAME_BYTES:
            parts.append(ids[begin:end])
            begin, size = end, 0
        size += len(id_) + ID_OVERHEAD
    return [*parts, ids[begin:]] if ids else []
