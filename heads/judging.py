"""Rows of a store as a model sees them, with the items that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from heads.data import Source
from heads.evaluation import blocks_of
from heads.model import Model
from heads.scoring import unit


@dataclass(frozen=True, eq=False)
class Judged:
    """The labeled rows of a split."""

    split: str
    items: pa.Table
    """n rows."""
    codes: np.ndarray
    """(n,) int64, in the model's classes; -1 where it does not know the label."""
    probabilities: np.ndarray
    """(n, classes) float64."""

    @property
    def predicted(self) -> np.ndarray:
        """(n,) int64: the likeliest class."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """(n,) float64: its probability."""
        return self.probabilities.max(axis=1)


def judge(model: Model, source: Source, split: str, images: str | Path | None = None) -> Judged:
    """Return what a model says of each row of a split.

    A fine-tuned model needs the store's `images`, where they are not as last time.
    """
    known = {name: code for code, name in enumerate(model.classes)}
    codes = np.array([known.get(name, -1) for name in source.classes], np.int64)
    blocks = [
        (codes[block.y], model.predict_proba(block.X), block.items)
        for block in blocks_of(model, source, split, images)
    ]
    found, probabilities, items = zip(*blocks, strict=True)
    return Judged(
        split, pa.concat_tables(items), np.concatenate(found), np.concatenate(probabilities)
    )


def pick(source: Source, split: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return features (m, d) of some rows of a split, in the order in which they are named."""
    wanted = np.asarray(rows, np.int64)
    found = np.empty((len(wanted), source.width), np.float32)
    start = 0
    for block in source.blocks(split):
        here = (wanted >= start) & (wanted < start + len(block))
        found[here] = block.X[wanted[here] - start]
        start += len(block)
    return found


def nearest_training(
    source: Source,
    X: np.ndarray,
    count: int,
    words: Callable[[pa.Table], Sequence[str]] | None = None,
) -> tuple[np.ndarray, Mapping[int, dict[str, object]]]:
    """Return which training rows are nearest to some rows, by the cosine of their features.

    Args:
        source: Where training rows are.
        X: (m, d) features.
        count: How many of each.
        words: What is said of items as their "label"; their class by default.

    Returns:
        rows: (m, count) positions in the training split, the nearest first; -1 where there are
            fewer.
        items: Position → its item, with what is said of it as "label".
    """
    words = partial(_class_names, source) if words is None else words
    queries = unit(X)
    best = np.full((len(X), count), -np.inf, np.float32)
    rows = np.full((len(X), count), -1, np.int64)
    items: dict[int, dict[str, object]] = {}
    start = 0
    for block in source.blocks("train"):
        similar = np.concatenate([best, queries @ unit(block.X).T], axis=1)
        places = np.concatenate(
            [rows, np.broadcast_to(np.arange(start, start + len(block)), (len(X), len(block)))],
            axis=1,
        )
        order = np.argsort(-similar, axis=1, kind="stable")[:, :count]
        best, rows = np.take_along_axis(similar, order, 1), np.take_along_axis(places, order, 1)
        new = np.unique(rows[rows >= start])
        found = block.items.take(new - start)
        for row, item, said in zip(new.tolist(), found.to_pylist(), words(found), strict=True):
            items[row] = {**item, "label": said}
        start += len(block)
    return rows, {row: items[row] for row in np.unique(rows[rows >= 0]).tolist()}


def _class_names(source: Source, items: pa.Table) -> list[str]:
    return [source.classes[code] for code in source.codes(items).tolist()]
