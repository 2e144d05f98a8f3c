"""Heads that only compare: the nearest class mean, and the nearest training rows, by cosine.

Rows are centered first: features behind a ReLU are all positive, so that without it every pair of
images has a cosine near 1. Both heads compute with their `heads.scoring` object, so that what is
saved gives what was fitted.
"""

from __future__ import annotations

from numbers import Integral
from typing import Self

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from heads.by_logits import Probabilities
from heads.calibration import fit_temperature
from heads.scoring import Neighbors, Prototype, Scorer, unit

ROWS = 4096
"""Rows at once, so that memory does not grow with the data set."""


class _CosineHead(Probabilities):
    """What both heads do with the scorer that they were fitted to."""

    def scorer(self) -> Scorer:
        """Return the fitted head as arrays."""
        raise NotImplementedError

    def _logits(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return self.scorer().logits(validate_data(self, X, reset=False, dtype=np.float32))

    def _checked(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, d) float32 and codes (n,) int64; sets `classes_`."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A head needs two classes. Received: one class, {self.classes_[0]}")
        return X, codes


class PrototypeHead(_CosineHead):
    """The class whose mean is nearest by cosine; nothing to choose, one pass over the rows.

    Attributes:
        classes_: (classes,).
        center_: (d,) float32, the mean of the class means: a rare class counts as a common one.
        prototypes_: (classes, d) float32, class means less the center, each of norm 1.
        scale_: Factor of the cosines, > 0, under which softmax of them fits the training rows
            best, each against class means that it is left out of.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn from X (n, d) and y (n,); returns self."""
        X, codes = self._checked(X, y)
        counts = np.bincount(codes)
        means = np.stack(
            [X[codes == code].mean(axis=0, dtype=np.float64) for code in range(len(counts))]
        )
        center = means.mean(axis=0)
        self.center_ = center.astype(np.float32)
        self.prototypes_ = unit(means - center).astype(np.float32)
        cosines = self._left_out(X, codes, counts, means - center)
        self.scale_ = 1 / fit_temperature(cosines, codes)
        return self

    def _left_out(
        self, X: np.ndarray, codes: np.ndarray, counts: np.ndarray, means: np.ndarray
    ) -> np.ndarray:
        """Return cosines (n, classes) float64 of each row to class means that lack that row.

        With S the sum of the n_c rows of x's class, S - x is the direction without x:
        cos = x·(S - x) / (|x| |S - x|), and |S - x|² = |S|² - 2 x·S + |x|². The center stays.
        """
        cosines = np.empty((len(X), len(counts)))
        for start in range(0, len(X), ROWS):
            block = slice(start, start + ROWS)
            x, code = X[block] - self.center_, codes[block]  # (r, d), (r,)
            cosines[block] = unit(x) @ self.prototypes_.T
            x2 = np.einsum("rd,rd->r", x, x, dtype=np.float64)
            sums = means * counts[:, None]  # (classes, d)
            xS = np.einsum("rd,rd->r", x, sums[code])
            S2 = np.einsum("cd,cd->c", sums, sums)[code]
            norms = np.sqrt(x2 * np.maximum(S2 - 2 * xS + x2, 0))
            alone = (counts[code] == 1) | (norms == 0)  # no direction is left
            own = np.divide(xS - x2, norms, out=np.zeros(len(x)), where=~alone)
            cosines[np.arange(len(x)) + start, code] = own
        return cosines

    def scorer(self) -> Prototype:
        """Return the fitted head as arrays."""
        return Prototype(self.center_, self.prototypes_, self.scale_)


class KNNHead(_CosineHead):
    """The commonest class among the nearest training rows by cosine.

    A probability is a class's share of the votes, with one more vote spread over all classes.
    Ties between classes go to the first of them. All training rows are kept: n * d * 4 bytes.

    Args:
        n_neighbors: Rows that vote, at least 1; all of them where there are fewer.

    Attributes:
        classes_: (classes,).
        center_: (d,) float32, the mean row.
        rows_: (n, d) float32, training rows less the center, each of norm 1.
        codes_: (n,) int64, the class of each row.
    """

    center_: np.ndarray
    rows_: np.ndarray
    codes_: np.ndarray

    def __init__(self, n_neighbors: int = 10) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Keep X (n, d) and y (n,); returns self."""
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors is an integer >= 1. Received: {self.n_neighbors!r}")
        X, self.codes_ = self._checked(X, y)
        self.center_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.rows_ = unit(X - self.center_)
        return self

    def scorer(self) -> Neighbors:
        """Return the fitted head as arrays."""
        return Neighbors(
            self.rows_, self.codes_, self.center_, int(self.n_neighbors), len(self.classes_)
        )
