"""Intervals: how far a number could have come out elsewhere, had other rows been drawn.

Rows are drawn again with replacement, not within classes: how many rows a class has is chance
too. Every number is its value plus the mean of what each row adds to it (its influence), so one
matrix product gives all numbers of all resamples. For means (accuracy, log loss) that is the
bootstrap itself. For what is no mean (areas under curves, F1, calibration error) it is the
bootstrap of the first-order expansion, which needs no second sorting, meets no resample that
lacks a class, and leaves out the bias that resampling adds (it more than doubles a small
calibration error). As with every percentile interval, few rows near 0 or 1 make it too narrow.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 (percentile
interval) and 22 (influence, and the bootstrap of linear statistics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
FEWEST = 200
DRAWS = 2 * 10**8
"""Rows drawn in all: above 200,000 rows there are fewer resamples, `FEWEST` at least."""
BLOCK = 2**20
"""Rows drawn at once: resamples are made in blocks of 8 MB."""
LEVELS = (0.025, 0.975)
"""95 % of the resamples lie between these quantiles."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number, and what each row adds to it."""

    value: float
    influence: np.ndarray
    """(n,) float64 of mean 0: rows counted w (n,) times, of sum n, give `value` + mean(w *
    influence), to first order."""
    most: float = 1.0
    """No value is above it; none is below 0."""


def mean_of(values: np.ndarray, most: float = 1.0) -> Statistic:
    """Return the mean of numbers or booleans (n,)."""
    mean = float(np.mean(values))
    return Statistic(mean, values - mean, most)


def resamples(rows: int) -> int:
    """Return how often rows are drawn again."""
    return min(RESAMPLES, max(FEWEST, DRAWS // rows))


def intervals(statistics: Mapping[str, Statistic], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each statistic; all have the same n rows."""
    influence = np.stack([s.influence for s in statistics.values()], axis=1)  # (n, k)
    value = np.array([s.value for s in statistics.values()])
    most = np.array([s.most for s in statistics.values()])
    moved = _moved(influence, np.random.default_rng(seed))
    low, high = np.clip(value + np.quantile(moved, LEVELS, axis=0), 0, most)
    # Rounding alone could leave the value outside of an interval that has no width.
    low, high = np.minimum(low, value), np.maximum(high, value)
    return {name: (float(a), float(b)) for name, a, b in zip(statistics, low, high, strict=True)}


def _moved(influence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (resamples, k): by how much each resample moves each of the k statistics."""
    rows, total = len(influence), resamples(len(influence))
    at_once = max(1, BLOCK // rows)
    parts = []
    for start in range(0, total, at_once):
        count = min(at_once, total - start)
        drawn = rng.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        parts.append(times.astype(np.float64) @ influence / rows)
    return np.concatenate(parts)
