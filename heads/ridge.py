"""Ridge regression on targets of -1 and 1: closed form, streamed, all penalties at once.

With X the rows less their mean and Y the targets less theirs, one pass over the rows gives the
Gram matrix X'X and X'Y, whatever their number. One decomposition X'X = V S V' then serves every
penalty:

    coef(alpha) = V (S + alpha)^-1 V' X'Y

Held-out rows are scored for all penalties in one pass more. Leave-one-out needs the diagonal of
the hat matrix, h_i = 1/n + sum_j (x_i' v_j)^2 / (s_j + alpha), and one pass too:

    score of row i by the fit without it = y_i - (y_i - fit_i) / (1 - h_i)

Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 2nd ed., 3.4.1 (ridge)
and 7.10 (leave-one-out).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from heads.select import ClassWeight, Folds, Scores, class_weights, encode, penalties

Pairs = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Gives blocks X (m, d), y (m,) of all rows anew at each call."""
Block = tuple[np.ndarray, np.ndarray, np.ndarray]
"""X (m, d), codes (m,), weights (m,)."""
Blocks = Callable[[], Iterable[Block]]

ROWS = 1024
"""Rows of one block of an array: the fewer, the less float32 products lose before they add up."""
FEW = 2_000_000
"""Numbers in all rows up to which products are float64: with few rows X'X is near singular, and a
weak penalty shows what float32 lost. So it is up to twice as many rows as features."""
MANY = 16
"""Classes above which X'Y is summed class by class."""
CELLS = 2**23
"""Targets of rows, at every penalty, that are held at once when rows are scored."""
NUM_ALPHAS = 45
LOW, HIGH = 1e-1, 1e7
"""Ends of the default penalties, in squared units of the features."""


@dataclass(eq=False)
class Moments:
    """Sums over weighted rows, from which every mean and product about the mean follows."""

    shift: np.ndarray
    """(d,) near the mean of the rows: it is subtracted first, so that products do not cancel."""
    weight: float
    x: np.ndarray
    """(d,) sum of rows."""
    y: np.ndarray
    """(c,) sum of targets."""
    xx: np.ndarray
    """(d, d) sum of products, float64."""
    xy: np.ndarray
    """(d, c)."""

    @classmethod
    def of(cls, blocks: Blocks, classes: int) -> Self:
        """Make one pass over the rows; products are taken in the rows' own type, sums in float64.

        Memory holds two matrices (d, d) and one block.
        """
        moments: Self | None = None
        for X, codes, weights in blocks():
            if moments is None:
                d, c = X.shape[1], targets(codes[:1], classes).shape[1]
                sums = np.zeros(d), np.zeros(c), np.zeros((d, d)), np.zeros((d, c))
                moments = cls(X.mean(axis=0), 0.0, *sums)
            moments._add(X - moments.shift, codes, weights, classes)
        assert moments is not None  # callers have rows
        return moments

    def _add(self, X: np.ndarray, codes: np.ndarray, weights: np.ndarray, classes: int) -> None:
        root = np.sqrt(weights)[:, None].astype(X.dtype)
        X = X * root
        self.weight += float(weights.sum())
        self.xx += X.T @ X  # of one array with itself: NumPy computes half of it
        if codes.ndim == 1 and classes > MANY:
            self._add_classes(X * root, codes, weights)
            return
        Y = targets(codes, classes)
        self.x += (X * root).sum(axis=0, dtype=np.float64)
        self.y += weights @ Y
        self.xy += X.T @ (root * Y).astype(X.dtype)

    def _add_classes(self, X: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> None:
        """Add weighted rows X (m, d) class by class: a product would be mostly with -1."""
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        sums = np.add.reduceat(X[order], starts, axis=0, dtype=np.float64)  # (present, d)
        total = sums.sum(axis=0)
        self.x += total
        self.xy[:, present] += 2 * sums.T
        self.xy -= total[:, None]
        self.y += 2 * np.bincount(codes, weights, len(self.y)) - weights.sum()

    def centered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X'X (d, d) and X'Y (d, c) about the means, float64."""
        xx = self.xx - np.outer(self.x, self.x) / self.weight
        return xx, self.xy - np.outer(self.x, self.y) / self.weight

    @property
    def mean(self) -> np.ndarray:
        """Mean of the rows (d,), from `shift`."""
        return self.x / self.weight

    @property
    def level(self) -> np.ndarray:
        """Mean of the targets (c,)."""
        return self.y / self.weight


@dataclass(frozen=True, eq=False)
class Path:
    """The fits at every penalty."""

    shift: np.ndarray
    mean: np.ndarray
    level: np.ndarray
    weight: float
    values: np.ndarray
    """(d,) eigenvalues of X'X, at least 0."""
    vectors: np.ndarray
    """(d, d)."""
    xy: np.ndarray
    """(d, c) V' X'Y."""
    alphas: np.ndarray
    """(k,)."""

    @classmethod
    def of(cls, moments: Moments, alphas: np.ndarray) -> Self:
        """Decompose once."""
        xx, xy = moments.centered()
        # "evd" (divide and conquer) is the quickest driver where all vectors are wanted.
        values, vectors = scipy.linalg.eigh(xx, driver="evd", overwrite_a=True, check_finite=False)
        return cls(
            moments.shift,
            moments.mean,
            moments.level,
            moments.weight,
            np.maximum(values, 0),
            vectors,
            vectors.T @ xy,
            alphas,
        )

    def coefs(self) -> np.ndarray:
        """Return (k, d, c)."""
        shrunk = self.xy / (self.values[:, None] + self.alphas[:, None, None])  # (k, d, c)
        k, d, c = shrunk.shape
        flat = self.vectors @ shrunk.transpose(1, 0, 2).reshape(d, k * c)
        return flat.reshape(d, k, c).transpose(1, 0, 2)

    def fit(self, coefs: np.ndarray, chosen: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scikit-learn's `coef_` (c, d) and `intercept_` (c,) at one penalty."""
        coef = np.ascontiguousarray(coefs[chosen].T)
        return coef, self.level - coef @ (self.shift + self.mean)

    def fits(self, X: np.ndarray, coefs: np.ndarray) -> np.ndarray:
        """Return (m, k, c): targets of rows X (m, d) as every penalty sees them."""
        k, d, c = coefs.shape
        flat = coefs.transpose(1, 0, 2).reshape(d, k * c).astype(X.dtype)
        rows = X - (self.shift + self.mean).astype(X.dtype)
        return (rows @ flat).reshape(len(X), k, c) + self.level

    def leave_one_out(
        self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray, coefs: np.ndarray
    ) -> np.ndarray:
        """Return (m, k, c): targets of training rows as the fit without each row sees them."""
        fits = self.fits(X, coefs)
        rotated = (X - (self.shift + self.mean).astype(X.dtype)) @ self.vectors.astype(X.dtype)
        inverse = 1 / (self.values[:, None] + self.alphas)  # (d, k)
        hat = (rotated * rotated) @ inverse.astype(X.dtype) + 1 / self.weight  # (m, k)
        left = np.maximum(1 - weights[:, None] * hat, np.finfo(X.dtype).eps)
        return Y[:, None] - (Y[:, None] - fits) / left[:, :, None]


class RidgeHead(ClassifierMixin, BaseEstimator):
    """Ridge classifier in closed form, its penalty chosen by leave-one-out or on held-out rows.

    Features are not standardized, as in `RidgeClassifier`: penalties are in squared units of the
    features. The objective is sum of w_i |y_i - x_i W - b|² + alpha |W|².

    Args:
        alphas: Penalties, all above 0, or how many between 0.1 and 1e7.
        cv: None for leave-one-out, else folds as `LogisticRegressionCV` takes them.
        refit: With folds: True fits all rows at the best penalty; False averages, over the folds,
            each fold's fit at its own best penalty. With one fold that is the fit on its rows.
        class_weight: "balanced", or a weight for each class. It weighs the rows that train, fold
            by fold, and those that leave-one-out leaves out; not those that a fold holds out.

    Attributes:
        coef_: (1, d) for two classes, else (classes, d); `intercept_` likewise.
        alpha_: The penalty that was chosen.
        alphas_: (k,) those that were tried.
        scores_: (folds, k) accuracy; one row for leave-one-out.
        selection_: One dict per penalty: alpha, accuracy, squared_error.
        classes_: Labels, sorted.
    """

    def __init__(
        self,
        alphas: int | Sequence[float] = NUM_ALPHAS,
        *,
        cv: Any = None,
        refit: bool = True,
        class_weight: ClassWeight = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.refit = refit
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from X (n, d) and y (n,); returns self."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.classes_, codes = encode(y)
        self.alphas_ = penalties("alphas", self.alphas, LOW, HIGH)
        if few(*X.shape):
            X = X.astype(np.float64, copy=False)

        def training(rows: np.ndarray) -> Blocks:
            factors = class_weights(self.class_weight, self.classes_, codes[rows], weights[rows])
            return sliced(X, codes, weights * factors[codes], rows)

        whole = training(np.arange(len(X)))
        if self.cv is None or (len(self.alphas_) == 1 and self.refit):
            return self._choose(whole, None)
        folds = Folds.of(self.cv, X, y)
        pairs = [
            (training(np.flatnonzero(train)), sliced(X, codes, weights, np.flatnonzero(test)))
            for train, test in zip(folds.train, folds.test, strict=True)
        ]
        return self._choose_by_folds(pairs, whole)

    def fit_blocks(self, train: Pairs, validation: Pairs | None = None) -> Self:
        """Learn from a stream of rows, in memory of d² and one block.

        Args:
            train: Gives blocks X (m, d), y (m,) anew at each call.
            validation: Rows that choose the penalty; without them leave-one-out does.
        """
        self.classes_, counts = _count(train)
        self.alphas_ = penalties("alphas", self.alphas, LOW, HIGH)
        per_class = class_weights(
            self.class_weight, self.classes_, np.arange(len(counts)), counts.astype(np.float64)
        )
        self.n_features_in_ = next(iter(train()))[0].shape[1]
        dtype = np.float64 if few(int(counts.sum()), self.n_features_in_) else None

        def coded(pairs: Pairs, factors: np.ndarray) -> Blocks:
            def blocks() -> Iterable[Block]:
                for X, y in pairs():
                    codes = np.searchsorted(self.classes_, y)
                    yield np.asarray(X, dtype), codes, factors[codes]

            return blocks

        judges = coded(validation, np.ones(len(counts))) if validation else None
        return self._choose(coded(train, per_class), judges)

    def _choose(self, train: Blocks, validation: Blocks | None) -> Self:
        """Fit `train`, and keep the penalty that validation rows, or leave-one-out, like best."""
        path = Path.of(Moments.of(train, len(self.classes_)), self.alphas_)
        coefs = path.coefs()
        best = 0
        if len(self.alphas_) > 1:
            scores = _score(path, coefs, validation or train, len(self.classes_), not validation)
            best = self._note(scores)
        self.alpha_ = float(self.alphas_[best])
        self.coef_, self.intercept_ = path.fit(coefs, best)
        return self

    def _choose_by_folds(self, folds: list[tuple[Blocks, Blocks]], whole: Blocks) -> Self:
        classes = len(self.classes_)
        paths = [Path.of(Moments.of(train, classes), self.alphas_) for train, _ in folds]
        coefs = [path.coefs() for path in paths]
        scores = [
            _score(path, coef, test, classes, leave_one_out=False)
            for path, coef, (_, test) in zip(paths, coefs, folds, strict=True)
        ]
        accuracy = np.concatenate([s.accuracy for s in scores])
        together = Scores(accuracy, np.concatenate([s.loss for s in scores]))
        chosen = [self._note(together)]
        if self.refit:
            paths = [Path.of(Moments.of(whole, classes), self.alphas_)]
            coefs = [paths[0].coefs()]
        else:
            chosen = together.best_of_each_fold(self.alphas_, strong=1)
        fits = [path.fit(c, best) for path, c, best in zip(paths, coefs, chosen, strict=True)]
        self.alpha_ = float(self.alphas_[chosen].mean())
        self.coef_ = np.mean([coef for coef, _ in fits], axis=0)
        self.intercept_ = np.mean([intercept for _, intercept in fits], axis=0)
        return self

    def _note(self, scores: Scores) -> int:
        self.scores_ = scores.accuracy
        self.selection_ = scores.table("alpha", self.alphas_, "squared_error")
        return scores.best(self.alphas_, strong=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return targets of X (n, d) as the fit sees them: (n,) for two classes, else (n, c)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the label (n,) with the highest score for each row of X (n, d)."""
        scores = self.decision_function(X)
        codes = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[codes]


def columns_of(classes: int) -> int:
    """Return how many targets there are: one for two classes, else one per class."""
    return 1 if classes == 2 else classes


def targets(codes: np.ndarray, classes: int) -> np.ndarray:
    """Return (n, c) float64 of -1 and 1; for two classes one column, 1 for the second.

    Codes (n, c) are targets already.
    """
    if codes.ndim == 2:
        return codes
    if classes == 2:
        return (2.0 * codes - 1)[:, None]
    return 2.0 * np.eye(classes)[codes] - 1


def few(rows: int, width: int) -> bool:
    """Return whether rows are so few that their products are taken in float64."""
    return rows <= 2 * width or rows * width <= FEW


def sliced(X: np.ndarray, codes: np.ndarray, weights: np.ndarray, rows: np.ndarray) -> Blocks:
    """Return a function that gives some rows of arrays, by index, in blocks."""
    return lambda: (
        (X[part], codes[part], weights[part])
        for part in np.split(rows, range(ROWS, len(rows), ROWS))
    )


def _count(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of a stream, sorted, and how many rows each has."""
    counts: dict[Any, int] = {}
    for _, y in pairs():
        for label, number in zip(*np.unique(y, return_counts=True), strict=True):
            counts[label] = counts.get(label, 0) + int(number)
    classes, _ = encode(np.repeat(sorted(counts), 3))  # or scikit-learn takes them for numbers
    return classes, np.array([counts[label] for label in classes])


def _score(
    path: Path, coefs: np.ndarray, rows: Blocks, classes: int, leave_one_out: bool
) -> Scores:
    """Return accuracy and squared error (1, k) of some rows at every penalty, in one pass."""
    right, error, total = 0.0, 0.0, 0.0
    at_once = max(1, CELLS // (coefs.shape[0] * coefs.shape[2]))
    for X, codes, weights in _pieces(rows, at_once):
        coefs = coefs.astype(X.dtype, copy=False)  # once: all blocks have one type
        Y = targets(codes, classes)
        out = path.leave_one_out(X, Y, weights, coefs) if leave_one_out else path.fits(X, coefs)
        named = (out[:, :, 0] > 0) if classes == 2 else out.argmax(axis=2)  # (m, k)
        right = right + weights @ (named == codes[:, None])
        error = error + weights @ ((out - Y[:, None]) ** 2).mean(axis=2)
        total += float(weights.sum())
    return Scores(np.asarray(right)[None] / total, np.asarray(error)[None] / total)


def _pieces(rows: Blocks, at_once: int) -> Iterable[Block]:
    """Yield the rows of blocks, at most `at_once` at a time."""
    for X, codes, weights in rows():
        for start in range(0, len(X), at_once):
            here = slice(start, start + at_once)
            yield X[here], codes[here], weights[here]
