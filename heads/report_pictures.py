"""The pictures of a report: a map of the features, mistakes, and what is least certain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heads.album import Album
from heads.data import Source
from heads.judging import Judged, judge, nearest_training, pick
from heads.model import Model
from heads.projection import project

SHOWN = 24
"""Pictures of a gallery."""
NEAREST = 3
"""Training pictures beside each."""
CARD, POINT = 112, 56
"""Sides of pictures in galleries and on the map, in pixels."""
MAP = 2000
"""Most points of the map."""


def map_of(
    model: Model,
    source: Source,
    judged: Judged,
    album: Album,
    images: str | Path | None,
    seed: int,
) -> Mapping[str, Any]:
    """Return points with their places, pictures and words; rows are drawn over all splits.

    A fine-tuned model needs the store's `images`, where they are not as last time.
    """
    rng = np.random.default_rng(seed)
    counts = {split: source.count(split) for split in source.splits}
    share = min(1.0, MAP / sum(counts.values()))
    X, points = [], []
    for split, count in counts.items():
        rows = np.sort(rng.choice(count, max(1, int(share * count)), replace=False))
        found = judged if split == judged.split else judge(model, source, split, images)
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


def galleries(
    model: Model, source: Source, judged: Judged, album: Album
) -> list[Mapping[str, Any]]:
    """Return the worst mistakes and the least certain images, as cards."""
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
