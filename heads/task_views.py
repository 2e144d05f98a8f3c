"""Labels and numbers in words and by rank: what a page says of a row, and which rows it shows.

TaskView   one of `LabelView`, `NumberView`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from heads.data import Source
from heads.model import Model
from heads.targets import SEPARATOR

SMALLEST = np.finfo(np.float64).eps
BINS = 5
"""Colors of numbers on a map: as many rows have each."""


@dataclass(frozen=True, eq=False)
class Answered:
    """The rows of a split that have an entry, with what a model says of them."""

    split: str
    items: pa.Table
    """n rows."""
    y: np.ndarray
    """(n, outputs) float64: labels of 0 and 1, or numbers; in the model's order."""
    found: np.ndarray
    """(n, outputs) float64: probabilities of labels, or numbers."""
    novelty: np.ndarray
    """(n,) float64 in 0..1: how unlike the training images."""


def matched(model: Model, source: Source, y: np.ndarray) -> np.ndarray:
    """Return a store's y (n, names) in the model's order; a label that it lacks is on no row."""
    places = {name: place for place, name in enumerate(model.classes)}
    full = np.zeros((len(y), len(places)))
    full[:, [places[name] for name in source.classes]] = y
    return full


def answered(model: Model, source: Source, split: str) -> Answered:
    """Return what a model says of each row of a split."""
    found = [
        (block.items, matched(model, source, np.asarray(block.y)), block.X)
        for block in source.blocks(split)
    ]
    items, y, X = zip(*found, strict=True)
    return Answered(
        split,
        pa.concat_tables(items),
        np.concatenate(y),
        np.concatenate([model.predict_proba(block) for block in X]),
        np.concatenate([model.novelty(block) for block in X]),
    )


class TaskView(ABC):
    """How rows of a task are told and ranked."""

    map_text: str
    """What the map shows beside places."""
    worst_text: str
    """What the gallery of mistakes says; {} is how many there are."""
    least: tuple[str, str]
    """Title and text of the gallery of images that want another look."""

    def __init__(self, model: Model) -> None:
        self.names = model.classes

    @abstractmethod
    def true(self, y: np.ndarray) -> list[str]:
        """Return what is true of each row of y (n, outputs), in words."""

    @abstractmethod
    def given(self, rows: Answered) -> list[str]:
        """Return what the model says of each row, in words."""

    @abstractmethod
    def detail(self, rows: Answered) -> list[str]:
        """Return a sentence on how far the two are apart, or how sure the model is."""

    @abstractmethod
    def right(self, rows: Answered) -> np.ndarray:
        """Return (n,) bool: which rows are not to be called wrong."""

    @abstractmethod
    def cost(self, rows: Answered) -> np.ndarray:
        """Return (n,): how bad each answer is."""

    @abstractmethod
    def doubt(self, rows: Answered) -> np.ndarray:
        """Return (n,): how much each row wants another look."""

    @abstractmethod
    def is_mistake(self, rows: Answered) -> np.ndarray:
        """Return (n,) bool: which rows may be among the worst mistakes."""

    @abstractmethod
    def colors(self, rows: Sequence[Answered]) -> tuple[list[str], list[np.ndarray]]:
        """Return names of colors, and the color of each row of each split."""


class LabelView(TaskView):
    """Labels that do not exclude each other."""

    map_text = "A color is a set of labels. Red rings are images with a wrong set."
    worst_text = (
        "Of {:,} images with a label too many or too few, those whose labels were least expected. "
        "A label of the data may be wrong as well."
    )
    least = "Least certain", "A label is near its threshold: another opinion would help most."

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.thresholds = np.array(model.thresholds)

    def true(self, y: np.ndarray) -> list[str]:
        return [self._set(row) for row in y > 0]

    def given(self, rows: Answered) -> list[str]:
        return [self._set(row) for row in rows.found >= self.thresholds]

    def detail(self, rows: Answered) -> list[str]:
        """Name the labels at fault, or the one nearest to its threshold, with probabilities."""
        wrong = (rows.found >= self.thresholds) != (rows.y > 0)
        nearest = np.abs(rows.found - self.thresholds).argmin(axis=1)
        said = []
        for row, fault in enumerate(wrong):
            places = np.flatnonzero(fault) if fault.any() else nearest[row : row + 1]
            said.append(
                ", ".join(f"{self.names[place]} {rows.found[row, place]:.4f}" for place in places)
            )
        return said

    def right(self, rows: Answered) -> np.ndarray:
        return ((rows.found >= self.thresholds) == (rows.y > 0)).all(axis=1)

    def cost(self, rows: Answered) -> np.ndarray:
        sure = np.where(rows.y > 0, rows.found, 1 - rows.found)
        return -np.log(np.maximum(sure, SMALLEST)).mean(axis=1)

    def is_mistake(self, rows: Answered) -> np.ndarray:
        return ~self.right(rows)

    def doubt(self, rows: Answered) -> np.ndarray:
        """A label may be near its threshold."""
        return -np.abs(rows.found - self.thresholds).min(axis=1)

    def colors(self, rows: Sequence[Answered]) -> tuple[list[str], list[np.ndarray]]:
        sets = [self.true(split.y) for split in rows]
        names, codes = np.unique([one for some in sets for one in some], return_inverse=True)
        ends = np.cumsum([len(some) for some in sets])[:-1]
        return names.tolist(), np.split(codes, ends)

    def _set(self, given: np.ndarray) -> str:
        return SEPARATOR.join(self.names[i] for i in np.flatnonzero(given)) or "no label"


class NumberView(TaskView):
    """Numbers, each in its own unit."""

    map_text = "A color is a range of the first number."
    worst_text = (
        "Of {:,} images, those whose numbers are farthest off. A number of the data may be wrong "
        "as well."
    )
    least = (
        "Least like the training images",
        "A regressor does not say how sure it is; what it has seen nothing of, it can only guess.",
    )

    def __init__(self, model: Model, scale: np.ndarray) -> None:
        super().__init__(model)
        self.scale = np.where(scale > 0, scale, 1.0)
        """(targets,): errors are compared in these, the deviations of each number."""

    def true(self, y: np.ndarray) -> list[str]:
        return self._numbers(y)

    def given(self, rows: Answered) -> list[str]:
        return self._numbers(rows.found)

    def detail(self, rows: Answered) -> list[str]:
        return [f"off by {said}" for said in self._numbers(rows.found - rows.y)]

    def right(self, rows: Answered) -> np.ndarray:
        return np.ones(len(rows.y), bool)

    def cost(self, rows: Answered) -> np.ndarray:
        return (np.abs(rows.found - rows.y) / self.scale).mean(axis=1)

    def is_mistake(self, rows: Answered) -> np.ndarray:
        return np.ones(len(rows.y), bool)

    def doubt(self, rows: Answered) -> np.ndarray:
        return rows.novelty

    def colors(self, rows: Sequence[Answered]) -> tuple[list[str], list[np.ndarray]]:
        first = [split.y[:, 0] for split in rows]
        edges = np.unique(np.quantile(np.concatenate(first), np.linspace(0, 1, BINS + 1)))
        if len(edges) < 2:
            return [f"{edges[0]:.4g}"], [np.zeros(len(y), np.int64) for y in first]
        names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
        codes = [np.clip(np.searchsorted(edges, y, "right") - 1, 0, len(names) - 1) for y in first]
        return names, codes

    def _numbers(self, values: np.ndarray) -> list[str]:
        if len(self.names) == 1:
            return [f"{value:.4g}" for value in values[:, 0]]
        return [
            ", ".join(f"{name} {value:.4g}" for name, value in zip(self.names, row, strict=True))
            for row in values
        ]


def view_of(model: Model, rows: Answered) -> LabelView | NumberView:
    """Return how a model's rows are told."""
    if model.task == "multilabel":
        return LabelView(model)
    return NumberView(model, rows.y.std(axis=0))
