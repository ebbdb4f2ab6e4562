"""The rule that tells growth from noise."""

import random

import pytest

from tests.soak.curves import TOLERANCES, Curves, Tolerance, grows, slope

MEMORY, FILES = TOLERANCES["private_kb"], TOLERANCES["fds"]


def noisy(base: float, noise: float, rate: float = 0.0, count: int = 360) -> list[float]:
    """Return samples that rise by `rate` each, with a warm-up and peaks."""
    dice = random.Random(1)
    values = [base + rate * number + dice.uniform(-noise, noise) for number in range(count)]
    warm_up = [value * number / 20 for number, value in enumerate(values[:20])]
    return [value * (5 if dice.random() < 0.02 else 1) for value in [*warm_up, *values[20:]]]


@pytest.mark.parametrize(
    ("values", "tolerance"),
    [(noisy(10_000, 500), MEMORY), (noisy(12, 1), FILES), ([12.0] * 100, FILES), ([0.0] * 100, FILES)],
    ids=["memory", "files", "constant", "nothing"],
)
def test_noise_a_warm_up_and_peaks_are_no_growth(values: list[float], tolerance: Tolerance) -> None:
    assert not grows(values, tolerance)


@pytest.mark.parametrize(
    ("values", "tolerance"),
    [(noisy(10_000, 500, rate=15), MEMORY), (noisy(12, 1, rate=0.03), FILES)],
    ids=["15 kB a sample", "a file in thirty samples"],
)
def test_a_steady_leak_is_growth(values: list[float], tolerance: Tolerance) -> None:
    assert grows(values, tolerance)


def test_what_grows_is_named_and_what_is_only_shown_is_not_judged() -> None:
    curves = Curves()
    for second in range(100):
        rising = {"steady writer fds": float(second), "mongod memory_kb": float(second * 10_000)}
        curves.add(second, {**rising, "steady writer threads": 4.0})

    table = curves.table()

    assert curves.grown() == ["steady writer fds"]
    verdicts = {line[:32].strip(): line.split()[-1] for line in table.splitlines()[1:]}
    assert verdicts == {
        "steady writer fds": "GROWS",
        "mongod memory_kb": "only",
        "steady writer threads": "flat",
    }
    assert len(curves.csv().splitlines()) == 1 + 300


@pytest.mark.parametrize(("every_s", "grown"), [(1, []), (10, ["server sessions"])])
def test_what_the_server_clears_away_after_a_while_is_judged_after_that_while(
    every_s: float, grown: list[str]
) -> None:
    curves = Curves()

    for number in range(100):
        curves.add(number * every_s, {"server sessions": float(number)})

    assert curves.grown() == grown


def test_the_slope_is_that_of_the_line_that_fits_best() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(5, 1)]) == 0
