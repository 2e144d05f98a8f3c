"""Multinomial logistic regression at many penalties, one of which held-out rows choose.

Features are standardized inside, and the standardization is folded back into the coefficients:
at one penalty the fit is that of `make_pipeline(StandardScaler(), LogisticRegression(C=C))`, told
in the features as they are. `heads/newton.py` has the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from heads.errors import HeadError
from heads.newton import Rows, Solution, Spectrum, log_losses, moments, path
from heads.scoring import softmax
from heads.select import ClassWeight, Folds, Scores, class_weights, encode, penalties

LOW, HIGH = 1e-4, 1e4
"""Ends of the default penalties, as in `LogisticRegressionCV`."""
TOL = {"float32": 2e-5, "float64": 1e-20}
"""Default tolerance by the type of the features."""
SMALL = 2_000_000
"""Numbers in X up to which float32 rows are computed with in float64."""


class LogisticHead(ClassifierMixin, BaseEstimator):
    """Logistic regression with a path of penalties and warm starts.

    The objective is scikit-learn's, on standardized features: the weighted sum of log losses plus
    |W|² / (2 C).

    Args:
        Cs: Inverse penalties, all above 0, or how many between 1e-4 and 1e4. One alone is used as
            it is, and no rows are held out.
        cv: None for five folds, a number of folds, or a splitter, as in `LogisticRegressionCV`.
        refit: True fits all rows at the best C; False averages the fits of the folds at it.
        class_weight: "balanced", or a weight for each class.
        tol: What is left to gain when a fit ends, relative to the objective. None is 2e-5 for
            float32 features, and as much as rounding allows for float64.
        max_iter: Most Newton steps for each C.
        random_state: Nothing is drawn by chance; it is there because scikit-learn has it.

    Attributes:
        coef_: (1, d) for two classes, else (classes, d); `intercept_` likewise.
        C_: The penalty that was chosen: best mean accuracy over the folds, then lowest mean log
            loss, then the strongest.
        Cs_: (k,) those that were tried.
        scores_: (folds, k) accuracy of held-out rows, where rows were held out.
        selection_: One dict per C: C, accuracy, log_loss; means over the folds.
        n_iter_: (k,) Newton steps.
        classes_: Labels, sorted.
    """

    def __init__(
        self,
        Cs: int | Sequence[float] = 10,
        *,
        cv: Any = None,
        refit: bool = True,
        class_weight: ClassWeight = None,
        tol: float | None = None,
        max_iter: int = 100,
        random_state: Any = None,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.refit = refit
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from X (n, d) and y (n,); returns self.

        Raises:
            HeadError: If a penalty is not above 0, or y has one class.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self.classes_, codes = encode(y)
        weights = weights * class_weights(self.class_weight, self.classes_, codes, weights)[codes]
        if np.count_nonzero(np.bincount(codes, weights)) < 2:
            raise HeadError("A head needs two classes whose rows have a weight. Received one class")
        self.Cs_ = penalties("Cs", self.Cs, LOW, HIGH)
        tol = TOL[X.dtype.name] if self.tol is None else self.tol
        problem = _Problem(X, codes, len(self.classes_), tol, self.max_iter)
        if len(self.Cs_) == 1:
            self.C_ = float(self.Cs_[0])
            self._keep(problem, weights[:, None], {self.C_: problem.solve(weights, self.Cs_)[-1]})
            return self
        folds = Folds.of(self.cv, X, y)
        fold_weights = weights[:, None] * folds.train.T  # (n, folds)
        solutions = {s.C: s for s in problem.solve(fold_weights, np.unique(self.Cs_))}
        scores = _score([solutions[C] for C in self.Cs_], folds, codes, weights)
        self.scores_ = scores.accuracy
        self.selection_ = scores.table("C", self.Cs_, "log_loss")
        self.C_ = float(self.Cs_[scores.best(self.Cs_, strong=-1)])
        if self.refit:
            fold_weights = weights[:, None]
            rising = np.unique(self.Cs_[self.Cs_ <= self.C_])
            solutions = {s.C: s for s in problem.solve(weights, rising)}
        self._keep(problem, fold_weights, solutions)
        return self

    def _keep(
        self, problem: _Problem, weights: np.ndarray, solutions: dict[float, Solution]
    ) -> None:
        """Keep the mean over the folds at the chosen C, in features as they are."""
        slopes, offsets = problem.unscaled(solutions[self.C_].T, weights)
        self.coef_ = np.ascontiguousarray(slopes.mean(axis=1).T)
        self.intercept_ = offsets.mean(axis=0)
        self.n_iter_ = np.array([int(s.iterations.max()) for s in solutions.values()])

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits of X (n, d): (n,) of the second class for two, else (n, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        logits = X @ self.coef_.T + self.intercept_
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (n, classes) float64 of X (n, d)."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        return softmax(logits)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest label (n,) of X (n, d)."""
        logits = self.decision_function(X)
        codes = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[codes]


class _Problem:
    """Standardized rows, and their spectrum once it is needed."""

    def __init__(
        self, X: np.ndarray, codes: np.ndarray, classes: int, tol: float, max_iter: int
    ) -> None:
        if X.size <= SMALL:
            X = X.astype(np.float64, copy=False)
        mean, deviation = moments(X, np.ones((len(X), 1)))
        self._mean, self._deviation = mean[0].astype(X.dtype), deviation[0].astype(X.dtype)
        self._X = (X - self._mean) / self._deviation
        self._raw = X
        self._codes = codes
        self._classes = classes
        self._tol, self._max_iter = tol, max_iter
        self._spectrum: Spectrum | None = None

    def solve(self, weights: np.ndarray, Cs: np.ndarray) -> list[Solution]:
        """Return the solutions at rising `Cs`, for row weights (n,) or (n, folds)."""
        weights = weights.reshape(len(weights), -1)
        center, scale = self._about(weights)
        rows = Rows(
            self._X, self._codes, weights, center.T[:, :, None], scale.T[:, :, None], self._classes
        )
        if self._spectrum is None:
            self._spectrum = Spectrum.of(rows)
        return list(path(rows, self._spectrum, Cs.tolist(), self._tol, self._max_iter))

    def _about(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation (folds, d) of the standardized rows of each fold."""
        mean, deviation = moments(self._raw, weights)
        return (mean - self._mean) / self._deviation, deviation / self._deviation

    def unscaled(self, T: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return slopes (d, folds, j) and offsets (folds, j) for features as they are."""
        mean, deviation = moments(self._raw, weights)  # (folds, d)
        slopes = T[:-1] / deviation.T[:, :, None]
        return slopes, T[-1] - (mean.T[:, :, None] * slopes).sum(axis=0)


def _score(
    solutions: Sequence[Solution], folds: Folds, codes: np.ndarray, weights: np.ndarray
) -> Scores:
    """Return accuracy and mean log loss (folds, k) of the rows that each fold held out."""
    accuracy, loss = np.empty((2, len(folds), len(solutions)))
    for k, solution in enumerate(solutions):
        right = solution.margins.argmax(axis=2) == codes[:, None]  # (n, folds)
        losses = log_losses(solution.margins)
        for fold, held_out in enumerate(folds.test):
            w = weights[held_out]
            w = w if w.any() else np.ones_like(w)
            accuracy[fold, k] = np.average(right[held_out, fold], weights=w)
            loss[fold, k] = np.average(losses[held_out, fold], weights=w)
    return Scores(accuracy, loss)
