"""The table of breaks fits the code: what it replaces stands there once, and the tests it names exist."""

from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_break_can_be_applied_and_its_test_exists(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()

    assert [text.count(before) for before, _ in mutant.edits] == [1] * len(mutant.edits)
    for each in mutant.test.split():
        file, _, name = each.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()
