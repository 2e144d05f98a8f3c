"""Charts of pages: what can be told of them without looking."""

import pytest

from heads import charts


@pytest.mark.parametrize(
    ("places", "whole"), [([1, 2, 3], True), ([1, 2], True), ([0.5, 0.75, 1.0], False)]
)
def test_there_is_no_half_an_epoch(places, whole, monkeypatch):
    monkeypatch.setattr(charts, "_finish", lambda figure, axes, legend: axes.get_xticks())
    ticks = charts.lines({"validation": [(place, 0.9) for place in places]}, "epoch", "accuracy")

    assert all(tick == int(tick) for tick in ticks) == whole
