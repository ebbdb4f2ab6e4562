"""How the bench makes medians, ratios and a table of what it measured."""

import pytest

from bench.rows import Goal, Row, Sample, from_json, per_second, percent, ratios, reached, table, to_json

FLOOR = Row("floor", "ms", [Sample(10), Sample(20), Sample(40)])


def row(*values: float, goal: Goal | None = None, floor: str | None = "floor") -> Row:
    return Row("ours", "ms", [Sample(value) for value in values], floor, goal)


def test_a_ratio_is_that_of_the_same_round() -> None:
    assert ratios(row(10, 40, 40), [FLOOR]) == [1, 2, 1]


def test_with_another_number_of_rounds_the_ratio_is_that_of_the_medians() -> None:
    assert ratios(row(10, 30), [FLOOR]) == [1]


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (None, None),
        (Goal("ratio", "≤", 1.0), True),
        (Goal("ratio", "≥", 1.1), False),
        (Goal("median", "≤", 39), False),
        (Goal("median", "≥", 40), True),
    ],
)
def test_a_goal_is_a_bound_for_the_median_of_values_or_of_ratios(goal: Goal | None, met: bool | None) -> None:
    assert reached(row(10, 40, 40, goal=goal), [FLOOR]) is met


def test_a_goal_is_open_where_its_floor_was_left_out() -> None:
    assert reached(row(10, goal=Goal("ratio", "≤", 1.0)), []) is None


def test_the_slowest_in_a_hundred_stay_above_the_99th_percentile() -> None:
    assert percent(range(101), 99) == 99
    assert percent(range(101), 50) == 50
    assert percent([7], 99) == 7


def test_a_rate_keeps_the_cpu_seconds_of_its_round() -> None:
    assert per_second(100, [Sample(2, 0.5, 0.25)]) == [Sample(50, 0.5, 0.25)]


def test_a_row_comes_back_from_json_as_it_was() -> None:
    each = Row("ours", "ms", [Sample(1.5, 0.5, 0.25), Sample(2)], "floor", Goal("ratio", "≤", 1.3))

    assert from_json(to_json(each)) == each


def test_a_line_of_the_table_shows_median_ratio_goal_and_cpu() -> None:
    ours = Row("ours", "ms", [Sample(20, 1, 2), Sample(30, 1, 2)], "floor", Goal("ratio", "≤", 1.3))
    floor = Row("floor", "ms", [Sample(20), Sample(20)])

    line = table([floor, ours]).splitlines()[1]

    assert line == "| ours | 25 ms | 20 … 30 | 1.25 | 1.00 … 1.50 | ≤ 1.3 × ✓ | 1.00 + 2.00 |"
