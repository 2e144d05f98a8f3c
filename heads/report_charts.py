"""The charts of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from heads import charts
from heads.data import Source
from heads.errors import HeadError
from heads.evaluation import Evaluation
from heads.judging import Judged
from heads.model import Model

FEW_SHOT = 10**7
"""Most numbers in the training rows for which the few-shot curve is drawn."""
DRAWS = 3
"""Draws of each of its points."""
BINS = 15
"""Of equal width, in the reliability diagram, as in the calibration error."""


def charts_of(
    names: Sequence[str], model: Model, evaluations: Sequence[Evaluation], judged: Sequence[Judged]
) -> list[Mapping[str, str]]:
    """Return reliability and coverage of all models, and how the first one was trained.

    Each chart has a `title`, the `uri` of its picture, and a `text` below it.
    """
    found: list[Mapping[str, str]] = [
        {
            "title": "Is 90 % sure right in 9 of 10?",
            "uri": charts.reliability(
                {name: _bins(j) for name, j in zip(names, judged, strict=True)}
            ),
            "text": "Reliability: on the dashed line, a probability is what it says. Larger dots "
            "stand for more rows.",
        },
        {
            "title": "Accuracy, if only the surest are labeled",
            "uri": charts.lines(
                {
                    name: [(p.coverage, p.accuracy) for p in e.report.coverage]
                    for name, e in zip(names, evaluations, strict=True)
                },
                "share of rows that get a label",
                "accuracy among them",
            ),
            "text": "Coverage: leave the least certain to a person, and this much is right.",
        },
    ]
    if model.history:
        found += _learning(model)
    elif len(model.selection) > 1:
        found += _selection(model)
    return found


def _bins(judged: Judged) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, rows) of each bin that has rows."""
    confidence, right = judged.confidence, judged.predicted == judged.codes
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows = np.bincount(places, minlength=BINS)
    sums = (np.bincount(places, values, BINS) for values in (confidence, right))
    means = [total[rows > 0] / rows[rows > 0] for total in sums]
    return list(zip(*(m.tolist() for m in means), rows[rows > 0].tolist(), strict=True))


def _learning(model: Model) -> list[Mapping[str, str]]:
    """Return the learning curves of a head that was trained in epochs."""
    steps = range(1, len(model.history) + 1)
    found: list[Mapping[str, str]] = []
    for key, words in (("accuracy", "accuracy"), ("loss", "loss")):
        series = {
            name: [(i, row[k]) for i, row in zip(steps, model.history, strict=True) if row[k]]
            for name, k in (("train", key), ("validation", f"val_{key}"))
        }
        series = {name: points for name, points in series.items() if points}
        found.append(
            {
                "title": f"Learning curve: {words}",
                "uri": charts.lines(series, "epoch", words),
                "text": "Train rows are judged while weights move, validation rows after an epoch.",
            }
        )
    return found


def _selection(model: Model) -> list[Mapping[str, str]]:
    """Return how the penalty was chosen."""
    penalty = next(iter(model.selection[0]))
    points = [(row[penalty], row["accuracy"]) for row in model.selection]
    return [
        {
            "title": "How the penalty was chosen",
            "uri": charts.lines({"validation": points}, penalty, "accuracy", log=True),
            "text": f"The best of {len(points)} on rows that were held out.",
        }
    ]


def few_shot_chart(source: Source, seed: int) -> list[Mapping[str, str]]:
    """Return whether more labels would help; nothing where that cannot be told in a moment."""
    from heads.learning_curve import ESTIMATORS, curve_of

    if "validation" not in source.splits or source.count("train") * source.width > FEW_SHOT:
        return []
    try:
        curve = curve_of(source, draws=DRAWS, seed=seed)
    except HeadError:  # such as a class with one image
        return []
    points = {name: [p for p in curve.curve(name) if p.shots] for name in ESTIMATORS}
    uri = charts.lines(
        {name: [(p.shots or 0, p.accuracy) for p in found] for name, found in points.items()},
        "training images per class",
        "accuracy on validation rows",
        bands={
            name: [(p.accuracy - (p.interval or 0), p.accuracy + (p.interval or 0)) for p in found]
            for name, found in points.items()
        },
        log=True,
    )
    text = f"{curve.verdict}. Means of {DRAWS} draws and their 95 % intervals."
    return [{"title": "Would more labels help?", "uri": uri, "text": text}]
