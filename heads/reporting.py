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

from extract.store.opening import open_store
from extract.store.reader import Snapshot
from heads.album import Album
from heads.data import Source
from heads.errors import HeadError
from heads.evaluation import Evaluation, evaluate, find_store, open_for
from heads.evaluation_tables import tables
from heads.judging import Judged, judge
from heads.model import Model
from heads.model_folder import beside, is_model, load
from heads.page import check_place, write_page
from heads.ranges import plain_seed
from heads.report_charts import charts_of, few_shot_chart
from heads.report_pictures import galleries, map_of
from heads.task_sections import compared, sections_of

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
    seed = plain_seed(seed)
    if store is not None and is_model(store):
        names = [str(m.path if isinstance(m, Model) else m) for m in (model, *compare)]
        raise HeadError(
            f"{store} is a model, where a store would stand. To compare models: python -m heads "
            f"report {' --compare '.join([*names, str(store)])}"
        )
    models = [m if isinstance(m, Model) else load(m) for m in (model, *compare)]
    _check_models(models)
    out = _default_out(models[0]) if out is None else Path(out)
    check_place(out, "report")
    snapshot = open_store(find_store(models[0]) if store is None else store)
    evaluations = [evaluate(m, snapshot, split, images=images) for m in models]
    split = evaluations[0].split
    sources = [open_for(m, snapshot) for m in models]
    album = Album(snapshot, None if images is None else str(images))
    if models[0].task == "classification":
        judged = [judge(m, s, split, images) for m, s in zip(models, sources, strict=True)]
        sections = _of_classes(models, sources, evaluations, judged, album, images, seed)
    else:
        sections = sections_of(models, sources, evaluations, _names(models), album, seed)
    notes = (*evaluations[0].notes, *sections.pop("why_not"))
    values = {
        "title": out.name.removesuffix(".html"),
        "facts": _facts(models[0], evaluations[0], snapshot),
        "notes": notes,
        "comparison": None,
        **sections,
        "album": album,
    }
    size = write_page(out, "report", values)
    return ReportPage(
        out=str(out),
        bytes=size,
        split=split,
        rows=evaluations[0].rows,
        missing=album.missing,
        notes=(*notes, *album.notes),
        seconds=time.perf_counter() - begin,
    )


def _of_classes(
    models: Sequence[Model],
    sources: Sequence[Source],
    evaluations: Sequence[Evaluation],
    judged: Sequence[Judged],
    album: Album,
    images: str | Path | None,
    seed: int,
) -> dict[str, Any]:
    """Return what a page shows of classifiers, and why it lacks what it might show."""
    few_shot, why_not = few_shot_chart(sources[0], seed)
    numbers, each, confused, coverage = tables(evaluations[0])
    matrix = _matrix(evaluations[0])
    names = _names(models)
    return {
        "numbers": numbers,
        "heading": "Classes",
        "each": each,
        "matrix": matrix,
        "more": [coverage] if matrix else [confused, coverage],
        "comparison": compared(names, evaluations, _against(names, judged))
        if len(models) > 1
        else None,
        "charts": [*charts_of(names, models[0], evaluations, judged), *few_shot],
        "map": map_of(models[0], sources[0], judged[0], album, images, seed),
        "map_text": "Red rings are wrong labels.",
        "galleries": galleries(models[0], sources[0], judged[0], album),
        "why_not": why_not,
    }


def _check_models(models: Sequence[Model]) -> None:
    for model in models:
        if (model.task, model.label_columns) != (models[0].task, models[0].label_columns):
            raise HeadError(
                f"{_learned(models[0])}, and {_learned(model)}, so they answer different "
                f"questions. Leave it out of --compare"
            )


def _learned(model: Model) -> str:
    columns = ", ".join(map(repr, model.label_columns))
    task = "" if model.task == "classification" else f" as {model.task}"
    return f"{model.path} learned {columns}{task}"


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
        *([] if model.task == "regression" else [("temperature", f"{model.temperature:.3f}")]),
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


def _against(names: Sequence[str], judged: Sequence[Judged]) -> list[str]:
    """Return sentences on how many rows the first model and another one differ."""
    first = judged[0].predicted == judged[0].codes
    said = []
    for name, other in zip(names[1:], judged[1:], strict=True):
        right = other.predicted == other.codes
        said.append(
            f"{names[0]} alone is right on {(first & ~right).sum():,} rows, {name} alone on "
            f"{(right & ~first).sum():,}."
        )
    return said


def _names(models: Sequence[Model]) -> list[str]:
    """Return a name for each model, its folder's where it has one; no two are the same."""
    names = [m.path.name if m.path else f"model {i}" for i, m in enumerate(models, start=1)]
    if len(set(names)) == len(names):
        return names
    return [str(m.path or name) for m, name in zip(models, names, strict=True)]
