"""The charts of a report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from heads import charts
from heads.data import Source, check_validation
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
                {
                    name: bins_of(j.confidence, j.predicted == j.codes)
                    for name, j in zip(names, judged, strict=True)
                }
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
    return [*found, *training_charts(model)]


def training_charts(model: Model) -> list[Mapping[str, str]]:
    """Return how epochs went, or how a penalty was chosen."""
    if model.history:
        return _learning(model)
    return _selection(model) if len(model.selection) > 1 else []


def bins_of(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Return (mean confidence, share that is right, rows) of each bin that has rows."""
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
        if not series:  # numbers have no accuracy
            continue
        found.append(
            {
                "title": f"Learning curve: {words}",
                "uri": charts.lines(series, "epoch", words),
                "text": "Train rows are judged while weights move, validation rows after an epoch.",
            }
        )
    return found


def _selection(model: Model) -> list[Mapping[str, str]]:
    """Return how the penalty was chosen; of labels with penalties of their own, their mean."""
    first = model.selection[0]
    penalty = next(name for name in ("C", "alpha") if name in first)
    measure = next(name for name in ("accuracy", "squared_error") if name in first)
    by_penalty: dict[float, list[float]] = {}
    for row in model.selection:
        by_penalty.setdefault(row[penalty], []).append(row[measure])
    points = [(value, float(np.mean(found))) for value, found in by_penalty.items()]
    return [
        {
            "title": "How the penalty was chosen",
            "uri": charts.lines(
                {"validation": points}, penalty, measure.replace("_", " "), log=True
            ),
            "text": f"The best of {len(points)} on rows that were held out"
            + (", each label by itself; the mean over labels." if "label" in first else "."),
        }
    ]


def few_shot_chart(source: Source, seed: int) -> tuple[list[Mapping[str, str]], list[str]]:
    """Return the chart of whether more labels would help; or a note on why there is none."""
    from heads.learning_curve import ESTIMATORS, curve_of

    try:
        _check_moment(source)
        curve = curve_of(source, draws=DRAWS, seed=seed)
    except HeadError as error:
        return [], [f"Whether more labels would help is not shown: {error}"]
    if len({point.shots for point in curve.points if point.shots}) < 2:
        why = curve.notes[0] if curve.notes else curve.verdict
        return [], [f"Whether more labels would help is not shown: {why}"]
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
    return [{"title": "Would more labels help?", "uri": uri, "text": text}], []


def _check_moment(source: Source) -> None:
    """Raise `HeadError` where the curve would take longer than a moment."""
    check_validation(source)
    if source.count("train") * source.width > FEW_SHOT:
        column = "label" if source.target is None else source.target.columns[0]
        words = ["few-shot", str(source.snapshot.path)]
        words += [] if column == "label" else ["--label", column]
        raise HeadError(
            f"{source.count('train'):,} training rows of {source.width:,} features take longer "
            f"than a moment. Type: {shlex.join(['python', '-m', 'heads', *words])}"
        )
