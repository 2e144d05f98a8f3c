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
from heads.album import Album
from heads.errors import HeadError
from heads.evaluation import Evaluation, evaluate, find_store, open_for, tables
from heads.judging import Judged, judge
from heads.model import Model, beside, load
from heads.page import check_place, write_page
from heads.report_charts import charts_of, few_shot_chart
from heads.report_pictures import galleries, map_of

MOST_CELLS = 40
"""Most classes whose confusion is drawn cell by cell."""


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
    _check_models(models)
    out = _default_out(models[0]) if out is None else Path(out)
    check_place(out, "report")
    snapshot = open_store(find_store(models[0]) if store is None else store)
    evaluations = [evaluate(m, snapshot, split, images=images) for m in models]
    split = evaluations[0].split
    sources = [open_for(m, snapshot) for m in models]
    judged = [judge(m, s, split, images) for m, s in zip(models, sources, strict=True)]
    album = Album(snapshot, None if images is None else str(images))
    values = {
        "title": out.name.removesuffix(".html"),
        "facts": _facts(models[0], evaluations[0], snapshot),
        "notes": list(evaluations[0].notes),
        "tables": tables(evaluations[0]),
        "matrix": _matrix(evaluations[0]),
        "comparison": _comparison(models, evaluations, judged) if compare else None,
        "charts": [
            *charts_of(_names(models), models[0], evaluations, judged),
            *few_shot_chart(sources[0], seed),
        ],
        "map": map_of(models[0], sources[0], judged[0], album, images, seed),
        "galleries": galleries(models[0], sources[0], judged[0], album),
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


def _check_models(models: Sequence[Model]) -> None:
    for model in models:
        if model.task != "classification":
            raise HeadError(
                f"A report shows classifiers, and {model.path} learned {model.task}. Its numbers: "
                f"python -m heads evaluate {model.path}"
            )
        if model.label_columns != models[0].label_columns:
            raise HeadError(
                f"{models[0].path} learned {models[0].label_columns[0]!r}, and {model.path} "
                f"{model.label_columns[0]!r}, so they answer different questions. Leave it out of "
                f"--compare"
            )


def _default_out(model: Model) -> Path:
    if model.path is None:
        raise HeadError("The model was never saved, so the report has no default place. Give out=")
    return beside(model.path, ".report.html")


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
    if len(names) > MOST_CELLS:
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
