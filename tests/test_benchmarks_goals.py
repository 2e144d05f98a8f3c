"""A goal that was missed says so; what is printed beside it does not hide it by rounding."""

from __future__ import annotations

import pytest

from benchmarks.goals import at_least, at_most, below


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (at_least(5.0, 5), "(at least 5)"),
        (at_least(4.9999, 5), "(at least 5: MISSED)"),
        (at_most(0.1, 0.1, ".0%"), "(at most 10%)"),
        (at_most(0.1001, 0.1, ".0%"), "(at most 10%: MISSED)"),
        (below(1999.9, 2000, ",.0f"), "(below 2,000)"),
        (below(2000, 2000, ",.0f"), "(below 2,000: MISSED)"),
    ],
)
def test_a_goal_that_was_missed_says_so(told, expected):
    assert told == expected


@pytest.mark.parametrize("goal", [at_least, at_most, below])
def test_a_figure_that_is_no_number_misses_every_goal(goal):
    assert "MISSED" in goal(float("nan"), 1)
