"""Multinomial logistic regression at many penalties, one of which held-out rows choose.

Features are standardized inside, and the standardization is folded back into the coefficients:
at one penalty the fit is that of `make_pipeline(StandardScaler(), LogisticRegression(C=C))`, told
in the features as they are. `heads/logistic_path.py` has the method.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from heads.curvature import Spectrum
from heads.errors import HeadError
from heads.logistic_path import Rows, Solution, log_losses, moments, path
from heads.scoring import softmax
from heads.select import ClassWeight, Folds, Scores, class_weights, encode, penalties

LOW, HIGH = 1e-4, 1e4
"""Ends of the default penalties, as in `LogisticRegressionCV`."""
SMALL = 1_000_000
"""Numbers in X up to which products are float64; beyond they are float32, sums are float64."""
MAX_LOGITS = 2**24
"""Most logits that are held at once: folds take their steps together as far as that allows."""


class LogisticHead(ClassifierMixin, BaseEstimator):
    """Logistic regression with a path of penalties and warm starts.

    The objective is scikit-learn's, on standardized features: the weighted sum of log losses plus
    |W|² / (2 C). Two classes have one logit.

    Args:
        Cs: Inverse penalties, all above 0, or how many between 1e-4 and 1e4. One alone is used as
            it is, and no rows are held out.
        cv: None for five stratified folds, a number of folds, or a splitter, as in
            `LogisticRegressionCV`. A fold is standardized, and its classes are balanced, by its
            own training rows.
        refit: True fits all rows at the best C; False averages, over the folds, each fold's fit at
            its own best C. With one fold that is the fit on its training rows.
        class_weight: None, "balanced", or a weight for each class.
        tol: A fit ends when the next step would lower the objective by less than this share of it.
            What is left is a few times that, and below 1e-4 for the default.
        max_iter: Most gradients for each C; a warning tells where they were not enough.
        random_state: Nothing is drawn by chance; it is there because every head takes one.

    Attributes:
        classes_: Labels, sorted.
        coef_: (1, d) for two classes, else (classes, d), float64, on features as they come.
        intercept_: (1,) or (classes,) float64.
        C_: The penalty that was chosen: best mean accuracy over the folds, then lowest mean log
            loss, then the strongest. Without `refit` the mean over the folds of what each chose.
        Cs_: (k,) those that were tried.
        scores_: (folds, k) accuracy of held-out rows, where rows were held out.
        selection_: One dict per C, where rows were held out: C, accuracy, log_loss; means over the
            folds.
        n_iter_: (folds, k) gradients that were taken; (1, 1) where no rows were held out.
    """

    def __init__(
        self,
        Cs: int | Sequence[float] = 10,
        *,
        cv: Any = None,
        refit: bool = True,
        class_weight: ClassWeight = None,
        tol: float = 5e-6,
        max_iter: int = 1000,
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
        if np.count_nonzero(np.bincount(codes, weights)) < 2:
            raise HeadError("A head needs two classes whose rows have a weight. Received one class")
        self.Cs_ = penalties("Cs", self.Cs, LOW, HIGH)
        data = _Data(X, codes, weights, self.classes_, self.class_weight)
        whole = np.ones((1, len(X)), bool)
        if len(self.Cs_) == 1 and self.refit:  # nothing is chosen, and all rows train
            self.C_ = float(self.Cs_[0])
            problems = _Problems(data, whole)
            solution = self._solve(problems, self.Cs_)[0]
            self.n_iter_ = solution.iterations[:, None]
            self.coef_, self.intercept_ = problems.coefficients(solution.T)
            return self
        folds = Folds.of(self.cv, X, y)
        problems, Ts, scores = self._try_all(data, folds)
        if self.refit:
            best = scores.best(self.Cs_, strong=-1)
            self.C_ = float(self.Cs_[best])
            last = _Problems(data, whole, problems.spectrum)
            T = self._solve(last, self.Cs_[[best]])[0].T
            self.coef_, self.intercept_ = last.coefficients(T)
        else:
            chosen = scores.best_of_each_fold(self.Cs_, strong=-1)
            self.C_ = float(self.Cs_[chosen].mean())
            T = Ts[np.arange(len(chosen)), chosen]
            self.coef_, self.intercept_ = problems.coefficients(T)
        return self

    def _try_all(self, data: _Data, folds: Folds) -> tuple[_Problems, np.ndarray, Scores]:
        """Return the folds, their optima (folds, k, d + 1, j), and how held-out rows see them."""
        rising, places = np.unique(self.Cs_, return_inverse=True)
        problems = _Problems(data, folds.train)
        held_out = problems.held_out(data, folds.test)
        together = max(1, MAX_LOGITS // (len(data.X) * len(self.classes_)))
        found: list[list[np.ndarray]] = [[], [], [], []]
        for start in range(0, len(folds), together):
            group = range(start, min(start + together, len(folds)))
            solutions = self._solve(problems, rising, group=group)
            judges = held_out.only(np.array(group))
            scored = [_score(judges, s.T) for s in solutions]
            found[0].append(np.stack([s.T.astype(problems.rows.X.dtype) for s in solutions], 1))
            found[1].append(np.stack([s.iterations for s in solutions], axis=1))
            found[2].append(np.stack([accuracy for accuracy, _ in scored], axis=1))
            found[3].append(np.stack([loss for _, loss in scored], axis=1))
        Ts, iterations, accuracy, loss = (np.concatenate(part)[:, places] for part in found)
        scores = Scores(accuracy, loss)
        self.n_iter_, self.scores_ = iterations, scores.accuracy
        self.selection_ = scores.table("C", self.Cs_, "log_loss")
        return problems, Ts, scores

    def _solve(
        self,
        problems: _Problems,
        Cs: np.ndarray,
        *,
        group: Sequence[int] = (0,),
    ) -> list[Solution]:
        """Return the optima of some of the folds at rising Cs."""
        rows = problems.rows.only(np.asarray(group))
        solutions = list(path(rows, problems.spectrum, Cs.tolist(), self.tol, self.max_iter))
        if not all(s.converged.all() for s in solutions):
            warnings.warn(
                f"Some fits have not converged after max_iter={self.max_iter} gradients. Give a "
                f"larger max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        return solutions

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


@dataclass(frozen=True, eq=False)
class _Data:
    """What `fit` was given, as arrays."""

    X: np.ndarray
    codes: np.ndarray
    weights: np.ndarray
    """(n,) as users give them."""
    classes: np.ndarray
    class_weight: ClassWeight


class _Problems:
    """Standardized training rows of some folds."""

    def __init__(self, data: _Data, train: np.ndarray, spectrum: Spectrum | None = None) -> None:
        """Take the rows that train (b, n) bool, and a spectrum of such rows where one is known."""
        weights = data.weights[:, None] * train.T  # (n, b)
        self._used = weights.any(axis=1)
        X, codes, weights = data.X[self._used], data.codes[self._used], weights[self._used]
        self._dtype = np.dtype(np.float64 if X.size <= SMALL else np.float32)
        # The last column stands for all rows: X is standardized by it, folds differ a little.
        together = np.column_stack([weights, weights.max(axis=1)])
        mean, deviation = moments(X, together)
        self._origin, self._unit = mean[-1].astype(X.dtype), deviation[-1].astype(X.dtype)
        self.rows = Rows(
            X=self._standardized(X),
            codes=codes,
            weights=weights * _class_factors(data, codes, weights),
            center=((mean[:-1] - self._origin) / self._unit)[:, :, None],
            scale=(deviation[:-1] / self._unit)[:, :, None],
            classes=len(data.classes),
        )
        if spectrum is not None:
            self.spectrum = spectrum

    def _standardized(self, X: np.ndarray) -> np.ndarray:
        Z = X - self._origin
        Z /= self._unit
        return Z.astype(self._dtype, copy=False)

    @cached_property
    def spectrum(self) -> Spectrum:
        """What preconditions; it need not be that of these very rows."""
        return Spectrum.of(self.rows.X, self.rows.weights.sum(axis=1))

    def held_out(self, data: _Data, test: np.ndarray) -> Rows:
        """Return the rows that judge: test (b, n) bool."""
        weights = data.weights[:, None] * test.T
        # Rows without a weight judge where there are no others.
        weights = np.where(weights.any(axis=0), weights, test.T)
        used = weights.any(axis=1)
        same = np.array_equal(used, self._used)
        X = self.rows.X if same else self._standardized(data.X[used])
        return replace(self.rows, X=X, codes=data.codes[used], weights=weights[used])

    def coefficients(self, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over the folds, in features as they come: (j, d) and (j,) float64."""
        slopes = T[:, :-1] / self.rows.scale  # (b, d, j)
        offset = T[:, -1] - (self.rows.center * slopes).sum(axis=1)
        slopes = slopes.mean(axis=0).T.astype(np.float64) / self._unit
        return np.ascontiguousarray(slopes), offset.mean(axis=0) - slopes @ self._origin


def _class_factors(data: _Data, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (n, b): what the weight of a row is multiplied by in each fold, for its class."""
    factors = [class_weights(data.class_weight, data.classes, codes, w)[codes] for w in weights.T]
    return np.stack(factors, axis=1)


def _score(rows: Rows, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracy and mean log loss (b,) of the rows that each fold holds out."""
    margins, total = rows.margins(T), rows.weights.sum(axis=0)
    right = margins.argmax(axis=2) == rows.codes[:, None]
    losses = log_losses(margins)
    return tuple((values * rows.weights).sum(axis=0) / total for values in (right, losses))
