"""How unlike the training images an image is, with NumPy alone.

The distance from a row to the nearest class mean, each feature in units of its standard
deviation, is looked up among the same distances of rows that were not trained on: 0.97 means
that 97 % of those lie nearer. A picture of something else altogether comes out at 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

STEPS = 1000
"""Quantiles that are kept."""
ROWS = 4096
"""Rows at once, so that memory does not grow with the data set."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Class means and the distances that are usual."""

    means: np.ndarray
    """(classes, d) float32, in units of `scale`."""
    scale: np.ndarray
    """(d,) float32, > 0: standard deviation of each feature over the training rows."""
    quantiles: np.ndarray
    """(STEPS + 1,) float32, rising: distances of rows that were not trained on."""

    @classmethod
    def fit(cls, X: np.ndarray, codes: np.ndarray, classes: int, held_out: np.ndarray) -> Self:
        """Learn from training rows X (n, d) of classes `codes` (n,), and rows held out (m, d)."""
        scale = X.std(axis=0, dtype=np.float64)
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        means = np.stack([X[codes == code].mean(axis=0) for code in range(classes)]) / scale
        usual = _distances(held_out, means, scale)
        return cls(means, scale, np.quantile(usual, np.linspace(0, 1, STEPS + 1)).astype("f4"))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) in 0..1 for X (n, d): the share of usual distances that are smaller."""
        found = _distances(X, self.means, self.scale)
        return np.interp(found, self.quantiles, np.linspace(0, 1, len(self.quantiles)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs."""
        return {
            "novelty_means": self.means,
            "novelty_scale": self.scale,
            "novelty_quantiles": self.quantiles,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild what `arrays` described; `KeyError` where one is missing."""
        return cls(
            arrays["novelty_means"], arrays["novelty_scale"], arrays["novelty_quantiles"]
        )


def _distances(X: np.ndarray, means: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return (n,) float64: Euclidean distance of each row, over `scale`, to the nearest mean."""
    squared_means = (means.astype(np.float64) ** 2).sum(axis=1)
    out = np.empty(len(X))
    for start in range(0, len(X), ROWS):
        rows = np.asarray(X[start : start + ROWS], np.float32) / scale
        squared = (rows.astype(np.float64) ** 2).sum(axis=1)[:, None] + squared_means
        out[start : start + ROWS] = np.sqrt(
            np.maximum((squared - 2 * (rows @ means.T)).min(axis=1), 0)
        )
    return out
