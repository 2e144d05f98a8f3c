"""Support vector machines on standardized features, with the penalty chosen on held-out rows.

scikit-learn is removing `SVC(probability=True)`, whose inner cross-validation could contradict
`predict`. Here the held-out rows that choose C give one temperature as well: it moves no
prediction, and costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from heads.calibration import fit_temperature
from heads.linear_form import linear_form
from heads.scoring import Dense, Scorer, softmax, two_columns
from heads.sklearn_heads import SklearnScorer

LINEAR_CS = (1e-5, 1e-4, 1e-3, 1e-2)
"""With hundreds of standardized features every greater C gives the same machine, or a worse one
that takes minutes."""
KERNEL_CS = (0.1, 1.0, 10.0, 100.0)
KERNELS = ("linear", "rbf", "poly", "sigmoid")


class SVMHead(ClassifierMixin, BaseEstimator):
    """LinearSVC (one machine per class) or SVC (one per pair) behind a StandardScaler.

    Args:
        kernel: "linear", or "rbf", "poly" or "sigmoid", for which memory and time grow with n².
        Cs: Penalties to choose from, each > 0: a sequence, or an integer for that many from 1e-4
            to 1e4; "auto" takes `LINEAR_CS` or `KERNEL_CS`.
        gamma: Of the kernels: "scale", "auto" or a number > 0, as SVC has it.
        cv: What holds rows out, as LogisticRegressionCV has it: None for five stratified folds,
            a number of folds, or a splitter.
        refit: Whether to train on all rows with the chosen C; False needs a `cv` with one fold,
            such as a PredefinedSplit, and keeps what that fold's train rows gave.
        class_weight: None, "balanced", or weights by class.
        random_state: Decides the order in which LinearSVC sees rows.

    Attributes:
        classes_: (classes,).
        C_: The chosen penalty; the smallest of those that are equally good.
        Cs_: (k,) float64, what was tried.
        scores_: (folds, k) float64, accuracy on the held-out rows.
        temperature_: Divides decision values before the softmax; fitted on those of the held-out
            rows. 1.0 where no fold knows all classes.
        pipeline_: The scaler and the machine, fitted.
        coef_, intercept_: (classes or 1, d) and (classes or 1,) float64, on features as they
            come; only with the linear kernel.
    """

    def __init__(
        self,
        kernel: str = "linear",
        Cs: str | int | Sequence[float] = "auto",
        *,
        gamma: str | float = "scale",
        cv: Any = None,
        refit: bool = True,
        class_weight: str | Mapping[Any, float] | None = None,
        random_state: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.Cs = Cs
        self.gamma = gamma
        self.cv = cv
        self.refit = refit
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn from X (n, d) and y (n,); returns self."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"A head needs two classes. Received: one class, {self.classes_[0]}")
        self.Cs_ = self._penalties()
        folds = list(check_cv(self.cv, y, classifier=True).split(X, y))
        if not self.refit and len(folds) != 1:
            raise ValueError(f"refit=False needs a cv with one fold. Received: {len(folds)} folds")

        tried = [[_Trial(self._machine(C), X, y, *fold) for C in self.Cs_] for fold in folds]
        self.scores_ = np.array([[trial.score for trial in row] for row in tried])
        best = int(self.scores_.sum(axis=0).argmax())
        self.C_ = float(self.Cs_[best])
        self.temperature_ = self._temperature(row[best] for row in tried)
        rows = slice(None) if self.refit else folds[0][0]
        self.pipeline_ = self._machine(self.C_).fit(X[rows], y[rows])
        if (form := linear_form(self.pipeline_)) is not None and self.kernel == "linear":
            self.coef_, self.intercept_ = form
        return self

    def _penalties(self) -> np.ndarray:
        if isinstance(self.Cs, str) and self.Cs == "auto":
            return np.array(LINEAR_CS if self.kernel == "linear" else KERNEL_CS)
        if isinstance(self.Cs, Integral):
            return np.logspace(-4, 4, int(self.Cs))
        Cs = np.array(self.Cs, dtype=np.float64)
        if Cs.ndim != 1 or not len(Cs) or not (Cs > 0).all():
            raise ValueError(f"Cs is a list of numbers > 0. Received: {self.Cs!r}")
        return Cs

    def _machine(self, C: float) -> Pipeline:
        if self.kernel == "linear":
            machine = LinearSVC(
                C=C, dual="auto", class_weight=self.class_weight, random_state=self.random_state
            )
        elif self.kernel in KERNELS:
            # Ties between pairs go to the larger decision value, so that it decides alone.
            machine = SVC(
                C=C,
                kernel=self.kernel,
                gamma=self.gamma,
                class_weight=self.class_weight,
                break_ties=True,
            )
        else:
            raise ValueError(f"kernel is one of {', '.join(KERNELS)}. Received: {self.kernel!r}")
        return make_pipeline(StandardScaler(), machine)

    def _temperature(self, trials: Iterable[_Trial]) -> float:
        whole = [trial for trial in trials if trial.logits.shape[1] == len(self.classes_)]
        if not whole:
            return 1.0
        codes = np.searchsorted(self.classes_, np.concatenate([trial.y for trial in whole]))
        return fit_temperature(np.concatenate([trial.logits for trial in whole]), codes)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes) for X (n, d), or (n,) for two classes: > 0 is the second."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return self.pipeline_.decision_function(X)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes): softmax of the decision values over `temperature_`."""
        values = self.decision_function(X)
        return softmax(two_columns(values.reshape(len(values), -1)), self.temperature_)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the class with the greatest decision value for each row of X (n, d), as (n,)."""
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]

    def scorer(self) -> Scorer:
        """Return the fitted head as an affine map, or as scikit-learn's own machine."""
        if self.kernel == "linear":
            return Dense.linear(self.coef_, self.intercept_)
        return SklearnScorer.of(self.pipeline_)


class _Trial:
    """A machine trained on one fold's train rows, judged on the rows that it holds out."""

    def __init__(
        self, machine: Pipeline, X: np.ndarray, y: np.ndarray, train: np.ndarray, held: np.ndarray
    ) -> None:
        machine.fit(X[train], y[train])
        values = machine.decision_function(X[held])
        self.logits = two_columns(values.reshape(len(values), -1))
        """(rows, classes that the train rows have)."""
        self.y = y[held]
        self.score = float(np.mean(machine.classes_[self.logits.argmax(axis=1)] == self.y))
