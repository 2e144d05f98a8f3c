"""How unlike the training images an image is, with NumPy alone.

The distance from a row to the nearest class mean, each feature in units of its standard
deviation, is looked up among the same distances of rows that were not trained on: 0.97 means
that 97 % of those lie nearer. A picture of something else altogether comes out at 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

STEPS = 1000
"""Quantiles that are kept."""
ROWS = 4096
"""Rows at once, so that memory does not grow with the data set."""


class Rows(Protocol):
    """Some rows of features with their classes."""

    @property
    def X(self) -> np.ndarray:
        """(n, d) float32."""

    @property
    def y(self) -> np.ndarray | None:
        """(n,) codes."""


Blocks = Callable[[], Iterable[Rows]]


@dataclass(frozen=True, eq=False)
class Novelty:
    """Class means and the distances that are usual."""

    center: np.ndarray
    """(d,) float32, near the mean of the training rows: distances are taken from here, so that
    large features do not cancel."""
    scale: np.ndarray
    """(d,) float32, > 0: standard deviation of each feature over the training rows."""
    means: np.ndarray
    """(classes, d) float32, from `center`, in units of `scale`."""
    quantiles: np.ndarray
    """(STEPS + 1,) float32, rising: distances of rows that were not trained on."""

    @classmethod
    def fit(cls, train: Blocks, classes: int, held_out: Blocks) -> Self:
        """Learn from rows, in two passes of bounded memory.

        Args:
            train: Gives blocks of training rows: X (n, d) float32, y (n,) codes of classes.
            classes: Their number; each has a row.
            held_out: Gives blocks of rows that were not trained on.
        """
        center, scale, means = moments(train(), classes)
        parts = [distances(block.X, center, scale, means) for block in held_out()]
        quantiles = np.quantile(np.concatenate(parts), np.linspace(0, 1, STEPS + 1))
        return cls(center, scale, means, quantiles.astype(np.float32))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) in 0..1 for X (n, d): the share of usual distances that are smaller."""
        found = distances(X, self.center, self.scale, self.means)
        return np.interp(found, self.quantiles, np.linspace(0, 1, len(self.quantiles)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs."""
        return {
            "novelty_center": self.center,
            "novelty_scale": self.scale,
            "novelty_means": self.means,
            "novelty_quantiles": self.quantiles,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild what `arrays` described; `KeyError` where one is missing."""
        names = ("center", "scale", "means", "quantiles")
        return cls(*(arrays[f"novelty_{name}"] for name in names))


def moments(blocks: Iterable[Rows], classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return center (d,), scale (d,) and class means (classes, d) as `Novelty` keeps them.

    Args:
        blocks: Rows with codes of classes.
        classes: Their number; each has a row.
    """
    count, sums, squares, shift = np.zeros(classes), 0.0, 0.0, None
    for block in blocks:
        if shift is None:  # near the mean, so that squares do not cancel
            shift = block.X.mean(axis=0)
        rows = block.X - shift
        member = np.zeros((len(rows), classes), np.float32)
        member[np.arange(len(rows)), block.y] = 1
        count += member.sum(axis=0)
        sums = sums + (member.T @ rows).astype(np.float64)  # (classes, d)
        squares = squares + np.einsum("nd,nd->d", rows, rows).astype(np.float64)
    assert shift is not None
    total = count.sum()
    variance = np.maximum(squares / total - (np.sum(sums, axis=0) / total) ** 2, 0)
    scale = np.sqrt(variance)
    scale = np.where(scale > 1e-6 * (1 + np.abs(shift)), scale, 1)
    means = sums / count[:, None] / scale
    return shift, scale.astype(np.float32), means.astype(np.float32)


def distances(
    X: np.ndarray, center: np.ndarray, scale: np.ndarray, means: np.ndarray
) -> np.ndarray:
    """Return (n,) float64: Euclidean distance of each row, over `scale`, to the nearest mean."""
    squared_means = (means.astype(np.float64) ** 2).sum(axis=1)
    out = np.empty(len(X))
    for start in range(0, len(X), ROWS):
        rows = (np.asarray(X[start : start + ROWS], np.float32) - center) / scale
        squared = (rows.astype(np.float64) ** 2).sum(axis=1)[:, None] + squared_means
        out[start : start + ROWS] = np.sqrt(
            np.maximum((squared - 2 * (rows @ means.T)).min(axis=1), 0)
        )
    return out
