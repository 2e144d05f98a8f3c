"""Charts of pages: what can be told of them without looking."""

import pytest

import heads
from heads import charts
from heads.report_charts import training_charts


@pytest.mark.parametrize(
    ("places", "whole"), [([1, 2, 3], True), ([1, 2], True), ([0.5, 0.75, 1.0], False)]
)
def test_there_is_no_half_an_epoch(places, whole, monkeypatch):
    monkeypatch.setattr(charts, "_finish", lambda figure, axes, legend: axes.get_xticks())
    ticks = charts.lines({"validation": [(place, 0.9) for place in places]}, "epoch", "accuracy")

    assert all(tick == int(tick) for tick in ticks) == whole


@pytest.mark.parametrize(
    ("estimator", "label", "count"), [("logistic", "C", 10), ("ridge", "alpha", 45)]
)
def test_what_chose_a_penalty_is_drawn_over_it(painted, monkeypatch, estimator, label, count):
    """Of a model that was loaded, whose record has its keys sorted: accuracy came before alpha."""
    seen = []
    monkeypatch.setattr(charts, "lines", lambda series, *labels, **_: seen.append((series, labels)))
    heads.fit(painted, painted.with_name("a.head"), estimator=estimator, columns=["last"])
    (chart,) = training_charts(heads.load(painted.with_name("a.head")))
    ((series, labels),) = seen

    assert labels == (label, "accuracy")
    assert len(series["validation"]) == count
    assert chart["text"] == f"The best of {count} on rows that were held out."
