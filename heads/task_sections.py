"""What a report shows of labels that do not exclude each other, and of numbers.

rows of a split, with what models say ─▶ charts ─▶ map ─▶ worst mistakes, least certain ─▶ page
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from heads import charts
from heads.album import Album
from heads.data import Source
from heads.evaluation import Evaluation
from heads.evaluation_tables import tables
from heads.model import Model
from heads.report_charts import bins_of, training_charts
from heads.report_pictures import SHOWN, cards, draw, place
from heads.task_views import Answered, LabelView, NumberView, answered, matched, view_of

PLOTTED = 6
"""Most numbers whose predictions are drawn, each in a chart of its own."""
POINTS = 50
"""Of the curve that says how far off numbers are."""
Chart = Mapping[str, str]


def sections_of(
    models: Sequence[Model],
    sources: Sequence[Source],
    evaluations: Sequence[Evaluation],
    names: Sequence[str],
    album: Album,
    seed: int,
) -> dict[str, Any]:
    """Return what a page shows of models of one task, and why it lacks what it might show."""
    split = evaluations[0].split
    rows = [answered(m, s, split) for m, s in zip(models, sources, strict=True)]
    views = [view_of(m, r) for m, r in zip(models, rows, strict=True)]
    view, model, source = views[0], models[0], sources[0]
    numbers, each = tables(evaluations[0])
    if isinstance(view, LabelView):
        shown = _label_charts(names, rows, view)
    else:
        shown = _number_charts(names, rows, views)
    against = _against(names, rows, views)
    return {
        "numbers": numbers,
        "heading": each.title,
        "each": each,
        "matrix": None,
        "more": [],
        "comparison": compared(names, evaluations, against) if len(models) > 1 else None,
        "charts": [*shown, *training_charts(model)],
        "map": _map(model, source, rows[0], view, album, seed),
        "map_text": view.map_text,
        "galleries": _galleries(model, source, rows[0], view, album),
        "why_not": _why_not(model),
    }


def compared(
    names: Sequence[str], evaluations: Sequence[Evaluation], against: Sequence[str]
) -> Mapping[str, Any]:
    """Return numbers of all models side by side, with sentences on how the first one differs."""
    reports = [evaluation.report for evaluation in evaluations]
    rows = [
        (key.replace("_", " "), [(r.scalars.get(key), r.intervals.get(key)) for r in reports])
        for key in reports[0].scalars
    ]
    return {"names": names, "rows": rows, "against": against}


def _why_not(model: Model) -> list[str]:
    notes = ["Whether more labels would help is not shown: few-shot curves are of classes"]
    if model.task == "regression" and len(model.classes) > PLOTTED:
        notes.append(f"Of {len(model.classes)} numbers, the first {PLOTTED} have a chart")
    return notes


def _against(
    names: Sequence[str], rows: Sequence[Answered], views: Sequence[LabelView | NumberView]
) -> list[str]:
    first = views[0].cost(rows[0])
    said = []
    for name, other, view in zip(names[1:], rows[1:], views[1:], strict=True):
        cost = view.cost(other)
        said.append(
            f"{names[0]} is nearer to the truth on {(first < cost).sum():,} rows, {name} on "
            f"{(cost < first).sum():,}."
        )
    return said


def _label_charts(names: Sequence[str], rows: Sequence[Answered], view: LabelView) -> list[Chart]:
    pooled = {name: (r.found.ravel(), r.y.ravel() > 0) for name, r in zip(names, rows, strict=True)}
    return [
        {
            "title": "Is a label of 90 % there in 9 of 10?",
            "uri": charts.reliability(
                {name: bins_of(*pair) for name, pair in pooled.items()},
                "probability of a label",
                "share of images that have it",
            ),
            "text": "Reliability of all labels together: on the dashed line, a probability is "
            "what it says. Larger dots stand for more rows.",
        },
        {
            "title": "Precision and recall",
            "uri": charts.lines(
                {name: _precision_recall(*pair) for name, pair in pooled.items()},
                "share of true labels that are found",
                "share of labels found that are true",
            ),
            "text": f"All {len(view.names)} labels together, by one threshold that falls from 1 "
            f"to 0; each label's own is in the table below.",
        },
    ]


def _precision_recall(found: np.ndarray, true: np.ndarray) -> list[tuple[float, float]]:
    """Return (recall, precision) at some thresholds, from the surest to all; none if none is."""
    order = np.argsort(-found, kind="stable")
    hits = np.cumsum(true[order])
    if not hits[-1]:
        return []
    at = np.unique(np.linspace(0, len(order) - 1, POINTS).astype(int))
    return list(zip((hits[at] / hits[-1]).tolist(), (hits[at] / (at + 1)).tolist(), strict=True))


def _number_charts(
    names: Sequence[str], rows: Sequence[Answered], views: Sequence[LabelView | NumberView]
) -> list[Chart]:
    off = {name: np.sort(view.cost(r)) for name, r, view in zip(names, rows, views, strict=True)}
    first = rows[0]
    return [
        *(
            {
                "title": f"{number}: predicted against true",
                "uri": charts.scatter(first.y[:, i], first.found[:, i], number),
                "text": "On the dashed line, nothing is off.",
            }
            for i, number in enumerate(views[0].names[:PLOTTED])
        ),
        {
            "title": "How far off",
            "uri": charts.lines(
                {name: _shares(errors) for name, errors in off.items()},
                "error, in standard deviations of the numbers",
                "share of rows that are no farther off",
            ),
            "text": "The sooner it rises, the better.",
        },
    ]


def _shares(errors: np.ndarray) -> list[tuple[float, float]]:
    at = np.unique(np.linspace(0, len(errors) - 1, POINTS).astype(int))
    return list(zip(errors[at].tolist(), ((at + 1) / len(errors)).tolist(), strict=True))


def _map(
    model: Model,
    source: Source,
    rows: Answered,
    view: LabelView | NumberView,
    album: Album,
    seed: int,
) -> Mapping[str, Any]:
    drawn = draw(source, seed)
    splits = [
        _taken(rows if split == rows.split else answered(model, source, split), chosen)
        for split, chosen in drawn.items()
    ]
    colors, codes = view.colors(splits)
    points = []
    for part, color in zip(splits, codes, strict=True):
        given = zip(view.given(part), view.detail(part), strict=True)
        told = zip(
            part.items["path"].to_pylist(),
            color.tolist(),
            view.right(part).tolist(),
            view.true(part.y),
            given,
            strict=True,
        )
        points += [
            {
                "path": path,
                "split": part.split,
                "label": code,
                "predicted": code if right else -1,
                "words": [true, f"{said} ({detail})"],
            }
            for path, code, right, true, (said, detail) in told
        ]
    return place(source, drawn, points, colors, album, seed)


def _taken(rows: Answered, chosen: np.ndarray) -> Answered:
    return replace(
        rows,
        items=rows.items.take(chosen),
        y=rows.y[chosen],
        found=rows.found[chosen],
        novelty=rows.novelty[chosen],
    )


def _galleries(
    model: Model,
    source: Source,
    rows: Answered,
    view: LabelView | NumberView,
    album: Album,
) -> list[Mapping[str, Any]]:
    wrong = np.flatnonzero(view.is_mistake(rows))
    worst = wrong[np.argsort(-view.cost(rows)[wrong], kind="stable")][:SHOWN]
    least = np.argsort(-view.doubt(rows), kind="stable")[:SHOWN]

    def shown(title: str, text: str, chosen: np.ndarray) -> Mapping[str, Any]:
        part = _taken(rows, chosen)
        said = [
            {"label": true, "predicted": given, "right": right, "detail": detail}
            for true, given, right, detail in zip(
                view.true(part.y),
                view.given(part),
                view.right(part).tolist(),
                view.detail(part),
                strict=True,
            )
        ]
        words = _words(model, source, view)
        return {
            "title": title,
            "text": text,
            "cards": cards(source, rows.split, rows.items, chosen, said, album, words),
        }

    return [
        shown("Worst mistakes", view.worst_text.format(len(wrong)), worst),
        shown(*view.least, least),
    ]


def _words(
    model: Model, source: Source, view: LabelView | NumberView
) -> Callable[[pa.Table], list[str]]:
    return lambda items: view.true(matched(model, source, source.codes(items)))
