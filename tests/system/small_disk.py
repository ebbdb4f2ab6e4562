"""A disk that can be filled, for tests: a tmpfs of its own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a disk of `size` (`64k`, `600m`) at `path`; skip the test where that is not allowed."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False)
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield path
    finally:
        # Lazily: a process that was just killed may still hold a file.
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left of the disk; return the file that does."""
    file = disk / "fill"
    with file.open("ab", buffering=0) as stream:
        for size in (1_000_000, 4096):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass
    return file
