"""Makes the mirror ready to be written: it is there, and orders its `_id`s as the source does."""

from typing import Any

from pymongo.errors import OperationFailure

from procs.errors import PermanentError
from procs.mongo import UNAUTHORIZED
from procs.pair import Pair

# https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/base/error_codes.yml
NAMESPACE_EXISTS = 48

OTHER_COLLATION = (
    "MIRROR_COLLECTION has another collation than SOURCE_COLLECTION, so their order differs: "
    "drop it, and it is made anew"
)


def prepare(pair: Pair) -> None:
    """Create the mirror if it is missing, with the collation of the source, which orders the `_id`s.

    An empty one with another collation is made anew. Raises PermanentError for one that is not empty.
    """
    source, mirror = pair.options(pair.source), pair.options(pair.mirror)
    if source is not None and mirror is not None and source.get("collation") != mirror.get("collation"):
        if pair.last_mirror_id() is not None:
            raise PermanentError(OTHER_COLLATION)
        if "viewOn" in mirror:  # refused by the listener's preflight, and not ours to drop
            return
        try:
            pair.mirror.drop()
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            raise PermanentError(OTHER_COLLATION) from None
        mirror = None
    if mirror is None:
        _create(pair, (source or {}).get("collation"))


def _create(pair: Pair, collation: Any) -> None:
    options = {} if collation is None else {"collation": collation}
    try:
        pair.mirror.database.create_collection(pair.mirror.name, check_exists=False, **options)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise
