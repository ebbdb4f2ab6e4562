"""`make mutants`: applies each break to a copy of the code; the test named beside it must go red.

First all these tests run on the code as it is, for one that is red anyway would notice nothing. ONLY=word
runs those whose name has the word. Exit code 1 if a break goes unnoticed.
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
FAILED = ("FAILED tests/", "ERROR tests/")


def apply(mutant: Mutant, root: Path) -> None:
    """Break the copy in `root`. ValueError: the table does not fit the code any more."""
    path = root / mutant.file
    text = path.read_text()
    for before, after in mutant.edits:
        if text.count(before) != 1:
            raise ValueError(f"{mutant.name}: stands {text.count(before)} times in {mutant.file}: {before!r}")
        text = text.replace(before, after)
    path.write_text(text)


def failed_test(tests: str, mutant: Mutant | None = None) -> str | None:
    """Run `tests` on a copy that `mutant` has broken; return the first that fails, if any does."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("procs", "supervisor", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        if mutant is not None:
            apply(mutant, root)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
    if ended.returncode == TESTS_FAILED:
        return next(line for line in ended.stdout.splitlines() if line.startswith(FAILED)).split()[1]
    if ended.returncode != 0:
        raise ValueError(f"{tests}: pytest ended with {ended.returncode}: {ended.stdout[-500:]}")
    return None


def main() -> int:
    word = os.environ.get("ONLY", "")
    mutants = [mutant for mutant in MUTANTS if word in mutant.name]
    if red := failed_test(" ".join(dict.fromkeys(mutant.test for mutant in mutants))):
        sys.stdout.write(f"red on the code as it is: {red}\n")
        return 1
    survivors = []
    for mutant in mutants:
        began = time.monotonic()
        red = failed_test(mutant.test, mutant)
        verdict = "red  " if red else "GREEN"
        sys.stdout.write(
            f"{verdict} {mutant.name:50} {time.monotonic() - began:5.1f} s  {red or mutant.test}\n"
        )
        sys.stdout.flush()
        if not red:
            survivors.append(mutant.name)
    sys.stdout.write(f"{len(survivors)} unnoticed{': ' if survivors else ''}{', '.join(survivors)}\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
