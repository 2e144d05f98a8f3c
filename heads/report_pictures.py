"""The pictures of a report: a map of the features, mistakes, and what is least certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

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
    drawn = draw(source, seed)
    points = []
    for split, rows in drawn.items():
        found = judged if split == judged.split else judge(model, source, split, images)
        points += _points(model, found, rows)
    return place(source, drawn, points, model.classes, album, seed)


def draw(source: Source, seed: int) -> dict[str, np.ndarray]:
    """Return rows of each split, at most `MAP` or so in all."""
    rng = np.random.default_rng(seed)
    counts = {split: source.count(split) for split in source.splits}
    share = min(1.0, MAP / sum(counts.values()))
    return {
        split: np.sort(rng.choice(count, max(1, int(share * count)), replace=False))
        for split, count in counts.items()
    }


def place(
    source: Source,
    drawn: Mapping[str, np.ndarray],
    points: list[dict[str, Any]],
    colors: Sequence[str],
    album: Album,
    seed: int,
) -> Mapping[str, Any]:
    """Return what the page's script draws: points of the rows drawn, with places and pictures."""
    X = np.concatenate([pick(source, split, rows) for split, rows in drawn.items()])
    places = project(X, seed)
    uris = album.pictures([point["path"] for point in points], POINT)
    for i, (point, uri) in enumerate(zip(points, uris, strict=True)):
        point["at"] = [at[i].round(4).tolist() for at in places.values()]
        point["picture"] = uri
    return {"ways": list(places), "classes": list(colors), "points": points}


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
    points = _points(model, judged, rows)
    said = [
        {
            "label": model.classes[point["label"]],
            "predicted": model.classes[point["predicted"]],
            "right": point["label"] == point["predicted"],
            "detail": f"{point['probability']:.4f}",
        }
        for point in points
    ]
    return cards(source, judged.split, judged.items, rows, said, album)


def cards(
    source: Source,
    split: str,
    items: pa.Table,
    rows: np.ndarray,
    said: Sequence[Mapping[str, Any]],
    album: Album,
    words: Callable[[pa.Table], Sequence[str]] | None = None,
) -> list[Mapping[str, Any]]:
    """Return rows of a split with their pictures and the nearest training images.

    Args:
        source: Of the rows.
        split: Likewise.
        items: All items of the split.
        rows: Which of them are shown.
        said: Of each of `rows`: label, predicted, right, detail.
        album: Of the page.
        words: What is said of training images; their class by default.
    """
    near, found = nearest_training(source, pick(source, split, rows), NEAREST, words)
    neighbors = {int(row): item for row, item in found.items()}
    names = [str(item["path"]) for item in neighbors.values()]
    small = dict(zip(neighbors, album.pictures(names, POINT), strict=True))
    paths = items["path"].take(rows).to_pylist()
    return [
        {
            **words_of,
            "path": path,
            "picture": picture,
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
        for words_of, path, picture, line in zip(
            said, paths, album.pictures(paths, CARD), near.tolist(), strict=True
        )
    ]
