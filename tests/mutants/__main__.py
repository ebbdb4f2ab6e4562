"""`make mutants`: applies each break to a copy of the code; the test named beside it must go red.

ONLY=word runs those whose name has the word. Exit code 1 if a break goes unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1


def apply(mutant: Mutant, root: Path) -> None:
    """Break the copy in `root`. ValueError: the table does not fit the code any more."""
    path = root / mutant.file
    text = path.read_text()
    for before, after in mutant.edits:
        if text.count(before) != 1:
            raise ValueError(f"{mutant.name}: stands {text.count(before)} times in {mutant.file}: {before!r}")
        text = text.replace(before, after)
    path.write_text(text)


def is_noticed(mutant: Mutant) -> bool:
    """Tell whether the tests of `mutant` fail on a copy that it has broken."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("procs", "supervisor", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        apply(mutant, root)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.test.split()]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
    if ended.returncode not in (0, TESTS_FAILED):
        raise ValueError(f"{mutant.name}: pytest ended with {ended.returncode}: {ended.stdout[-500:]}")
    return ended.returncode == TESTS_FAILED


def main() -> int:
    word = os.environ.get("ONLY", "")
    survivors = []
    for mutant in MUTANTS:
        if word not in mutant.name:
            continue
        began = time.monotonic()
        noticed = is_noticed(mutant)
        verdict = "red  " if noticed else "GREEN"
        sys.stdout.write(f"{verdict} {mutant.name:50} {time.monotonic() - began:5.1f} s  {mutant.test}\n")
        sys.stdout.flush()
        if not noticed:
            survivors.append(mutant.name)
    sys.stdout.write(f"{len(survivors)} unnoticed{': ' if survivors else ''}{', '.join(survivors)}\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
