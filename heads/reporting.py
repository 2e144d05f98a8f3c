"""A model and its store → one page that shows how good the model is, and where it is wrong.

model, store ─▶ evaluation (numbers, intervals) ─▶ charts ─▶ map of the features
             ─▶ worst mistakes and least certain images, with their pictures ─▶ report.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract.store.reader import Snapshot, open_store
from heads import charts
from heads.album import Album
from heads.data import Source
from heads.errors import HeadError
from heads.evaluation import Evaluation, evaluate, find_store, open_for, tables
from heads.judging import Judged, judge, nearest_training, pick
from heads.model import Model, load
from heads.page import check_place, write_page
from heads.projection import project

SHOWN = 24
"""Pictures of a gallery."""
NEAREST = 3
"""Training pictures beside each."""
CARD, POINT = 112, 56
"""Sides of pictures in galleries and on the map, in pixels."""
MAP = 2000
"""Most points of the map."""
FEW_SHOT = 10**7
"""Most numbers in the training rows for which the few-shot curve is drawn."""
DRAWS = 3
"""Draws of each of its points."""
BINS = 15
"""Of equal width, in the reliability diagram, as in the calibration error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """What a report came to; `--json` prints its fields."""

    out: str
    bytes: int
    split: str
    rows: int
    missing: int
    """Pictures that are shown as placeholders, because they are not at hand any more."""
    notes: tuple[str, ...]
    seconds: float


def report(
    model: Model | str | Path,
    store: str | Path | None = None,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    compare: Sequence[Model | str | Path] = (),
    images: str | Path | None = None,
    seed: int = 0,
) -> ReportPage:
    """Write a page about a model: numbers, charts, a map of the features, and pictures.

    Args:
        model: A model, or its folder.
        store: A store of the model's recipe; by default the one that it was trained on.
        out: The page; photos.report.html beside photos.head by default.
        split: "train", "validation" or "test"; as `evaluate` has it by default.
        compare: Further models, set beside the first one on the same rows.
        images: Where the images are now, if not where they were.
        seed: Draws the rows of the map.

    Raises:
        HeadError: If something else than a report has the path `out`, or as `evaluate` does.
        ModelError, StaleModelError, StoreError: As `evaluate` does.
    """
    begin = time.perf_counter()
    models = [m if isinstance(m, Model) else load(m) for m in (model, *compare)]
    _check_tasks(models)
    out = _default_out(models[0]) if out is None else Path(out)
    check_place(out, "report")
    snapshot = open_store(find_store(models[0]) if store is None else store)
    evaluations = [evaluate(m, snapshot, split) for m in models]
    split = evaluations[0].split
    sources = [open_for(m, snapshot) for m in models]
    judged = [judge(m, s, split) for m, s in zip(models, sources, strict=True)]
    album = Album(snapshot, None if images is None else str(images))
    values = {
        "title": out.name.removesuffix(".html"),
        "facts": _facts(models[0], evaluations[0], snapshot),
        "notes": list(evaluations[0].notes),
        "tables": tables(evaluations[0]),
        "matrix": _matrix(evaluations[0]),
        "comparison": _comparison(models, evaluations, judged) if compare else None,
        "charts": [
            *_charts(models, evaluations, judged),
            *_few_shot(models[0], sources[0], seed),
        ],
        "map": _map(models[0], sources[0], judged[0], album, seed),
        "galleries": _galleries(models[0], sources[0], judged[0], album),
        "album": album,
    }
    size = write_page(out, "report", values)
    return ReportPage(
        out=str(out),
        bytes=size,
        split=split,
        rows=len(judged[0].codes),
        missing=album.missing,
        notes=(*evaluations[0].notes, *album.notes),
        seconds=time.perf_counter() - begin,
    )


def _check_tasks(models: Sequence[Model]) -> None:
    for model in models:
        if model.task != "classification":
            raise HeadError(
                f"A report shows classifiers, and {model.path} learned {model.task}. Its numbers: "
                f"python -m heads evaluate {model.path}"
            )


def _default_out(model: Model) -> Path:
    if model.path is None:
        raise HeadError("The model was never saved, so the report has no default place. Give out=")
    path = Path(model.path)
    return path.with_name(path.name.removesuffix(path.suffix) + ".report.html")


def _facts(model: Model, evaluation: Evaluation, snapshot: Snapshot) -> list[tuple[str, str]]:
    chosen = ", ".join(f"{key}={value:.4g}" for key, value in model.estimator["chosen"].items())
    columns = ", ".join(column.name for column in model.columns)
    return [
        ("model", str(model.path or "not saved")),
        ("head", model.estimator["name"] + (f" with {chosen}" if chosen else "")),
        ("backbone", f"{model.backbone['name']}, weights {model.backbone['weights']}"),
        ("features", f"{columns}: {model.width:,} of {model.image_size} pixels"),
        ("store", f"{snapshot.path}, snapshot {snapshot.number}"),
        ("root digest", f"{snapshot.root_digest[:16]}…"),
        ("judged on", f"{evaluation.rows:,} {evaluation.split} rows"),
        ("temperature", f"{model.temperature:.3f}"),
    ]


def _matrix(evaluation: Evaluation) -> Mapping[str, Any] | None:
    """Return the confusion matrix with a shade, 0 to 9, of each cell by its share of the line."""
    found = evaluation.report
    names = [c.name for c in found.classes]
    if len(names) > charts.MOST_CELLS:
        return None
    share = found.confusion / np.maximum(found.confusion.sum(axis=1, keepdims=True), 1)
    shades = np.minimum((share * 10).astype(int), 9)
    lines = zip(names, found.confusion.tolist(), shades.tolist(), strict=True)
    return {
        "names": names,
        "lines": [
            {"name": name, "cells": list(zip(counts, levels, strict=True))}
            for name, counts, levels in lines
        ],
    }


def _comparison(
    models: Sequence[Model], evaluations: Sequence[Evaluation], judged: Sequence[Judged]
) -> Mapping[str, Any]:
    """Return numbers of all models side by side, and on how many rows two of them differ."""
    names = _names(models)
    rows = []
    for key in evaluations[0].report.scalars:
        cells = []
        for evaluation in evaluations:
            value, interval = (
                evaluation.report.scalars.get(key),
                evaluation.report.intervals.get(key),
            )
            cells.append((value, interval))
        rows.append((key.replace("_", " "), cells))
    first = judged[0].predicted == judged[0].codes
    against = []
    for name, other in zip(names[1:], judged[1:], strict=True):
        right = other.predicted == other.codes
        against.append((name, int((first & ~right).sum()), int((right & ~first).sum())))
    return {"names": names, "rows": rows, "first": names[0], "against": against}


def _names(models: Sequence[Model]) -> list[str]:
    """Return a name for each model, its folder's where it has one; no two are the same."""
    names = [m.path.name if m.path else f"model {i}" for i, m in enumerate(models, start=1)]
    if len(set(names)) == len(names):
        return names
    return [str(m.path or name) for m, name in zip(models, names, strict=True)]


def _charts(
    models: Sequence[Model], evaluations: Sequence[Evaluation], judged: Sequence[Judged]
) -> list[Mapping[str, str]]:
    names = _names(models)
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
    model = models[0]
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


def _few_shot(model: Model, source: Source, seed: int) -> list[Mapping[str, str]]:
    """Return whether more labels would help; nothing where that cannot be told in a moment."""
    from heads.learning_curve import ESTIMATORS, few_shot

    if "validation" not in source.splits or source.count("train") * source.width > FEW_SHOT:
        return []
    try:
        curve = few_shot(
            source.snapshot, columns=[c.name for c in source.columns], draws=DRAWS, seed=seed
        )
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
    text = f"{curve.verdict} Means of {DRAWS} draws and their 95 % intervals."
    return [{"title": "Would more labels help?", "uri": uri, "text": text}]


def _map(
    model: Model, source: Source, judged: Judged, album: Album, seed: int
) -> Mapping[str, Any]:
    """Return points with their places, pictures and words; rows are drawn over all splits."""
    rng = np.random.default_rng(seed)
    counts = {split: source.count(split) for split in source.splits}
    share = min(1.0, MAP / sum(counts.values()))
    X, points = [], []
    for split, count in counts.items():
        rows = np.sort(rng.choice(count, max(1, int(share * count)), replace=False))
        found = judged if split == judged.split else judge(model, source, split)
        X.append(pick(source, split, rows))
        points += _points(model, found, rows)
    places = project(np.concatenate(X), seed)
    uris = album.pictures([point["path"] for point in points], POINT)
    for i, (point, uri) in enumerate(zip(points, uris, strict=True)):
        point["at"] = [place[i].round(4).tolist() for place in places.values()]
        point["picture"] = uri
    return {"ways": list(places), "classes": list(model.classes), "points": points}


def _points(model: Model, judged: Judged, rows: np.ndarray) -> list[dict[str, Any]]:
    items = judged.items.take(rows)
    named = zip(
        items["path"].to_pylist(),
        judged.codes[rows].tolist(),
        judged.predicted[rows].tolist(),
        judged.confidence[rows].round(4).tolist(),
        strict=True,
    )
    return [
        {
            "path": path,
            "split": judged.split,
            "label": code,
            "predicted": predicted,
            "probability": probability,
        }
        for path, code, predicted, probability in named
    ]


def _galleries(
    model: Model, source: Source, judged: Judged, album: Album
) -> list[Mapping[str, Any]]:
    wrong = np.flatnonzero(judged.predicted != judged.codes)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:SHOWN]
    least = np.argsort(judged.confidence, kind="stable")[:SHOWN]
    return [
        {
            "title": "Worst mistakes",
            "text": f"Of {len(wrong):,} wrong labels, those that were given most surely. A label "
            f"of the data may be wrong as well.",
            "cards": _cards(model, source, judged, worst, album),
        },
        {
            "title": "Least certain",
            "text": "Where another opinion would help most.",
            "cards": _cards(model, source, judged, least, album),
        },
    ]


def _cards(
    model: Model, source: Source, judged: Judged, rows: np.ndarray, album: Album
) -> list[Mapping[str, Any]]:
    near, items = nearest_training(source, pick(source, judged.split, rows), NEAREST)
    neighbors = {int(row): item for row, item in items.items()}
    small = dict(
        zip(
            neighbors,
            album.pictures([str(item["path"]) for item in neighbors.values()], POINT),
            strict=True,
        )
    )
    points = _points(model, judged, rows)
    pictures = album.pictures([point["path"] for point in points], CARD)
    return [
        {
            "path": point["path"],
            "picture": picture,
            "label": model.classes[point["label"]],
            "predicted": model.classes[point["predicted"]],
            "right": point["label"] == point["predicted"],
            "probability": point["probability"],
            "near": [
                {
                    "path": neighbors[row]["path"],
                    "label": neighbors[row]["label"],
                    "picture": small[row],
                }
                for row in line
                if row >= 0
            ],
        }
        for point, picture, line in zip(points, pictures, near.tolist(), strict=True)
    ]
