"""Heads of several outputs: labels that do not exclude each other, and numbers.

`MultilabelRidge` and `RidgeRegressor` share one decomposition for all penalties and all outputs;
`MultilabelLogistic` is one logistic regression for each label against the rest. `make` gives
these and the Keras heads of `neural_outputs` by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from extract.quiet import quiet_import
from heads import estimators
from heads.errors import HeadError
from heads.logistic import LogisticHead
from heads.ridge import HIGH, LOW, NUM_ALPHAS, Moments, Path, sliced
from heads.select import ClassWeight, penalties

ValidationData = tuple[np.ndarray, np.ndarray]


class RidgeRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression in closed form, its penalty chosen by leave-one-out or held-out rows.

    Features are not standardized, targets are: every target counts the same in the choice.

    Args:
        alphas: Penalties, all above 0, or how many between 0.1 and 1e7.

    Attributes:
        coef_: (targets, d), or (d,) where y was (n,); `intercept_` likewise.
        alpha_: The penalty that was chosen, by mean squared error.
        selection_: One dict per penalty: alpha, squared_error in squared deviations of a target.
    """

    def __init__(self, alphas: int | Sequence[float] = NUM_ALPHAS) -> None:
        self.alphas = alphas

    def fit(self, X: Any, y: Any, *, validation_data: ValidationData | None = None) -> Self:
        """Learn from X (n, d) and y (n,) or (n, targets); returns self."""
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        Y = np.asarray(y, np.float64).reshape(len(X), -1)
        level, scale = Y.mean(axis=0), Y.std(axis=0)
        scale[scale == 0] = 1
        judges = None
        if validation_data is not None:
            judges = (
                validation_data[0],
                (validation_data[1].reshape(-1, Y.shape[1]) - level) / scale,
            )
        coef, intercept = _ridge(self, X, (Y - level) / scale, judges)
        self.coef_, self.intercept_ = coef * scale[:, None], intercept * scale + level
        if y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return numbers (n,) or (n, targets) for X (n, d)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_.T + self.intercept_


class MultilabelRidge(BaseEstimator):
    """Least squares on targets of -1 and 1, one for each label, all from one decomposition.

    Args:
        alphas: As in `RidgeRegressor`; squared error chooses.
    """

    def __init__(self, alphas: int | Sequence[float] = NUM_ALPHAS) -> None:
        self.alphas = alphas

    def fit(
        self, X: np.ndarray, y: np.ndarray, *, validation_data: ValidationData | None = None
    ) -> Self:
        """Learn from X (n, d) and indicators y (n, labels); returns self."""
        judges = validation_data and (validation_data[0], 2 * validation_data[1] - 1)
        self.coef_, self.intercept_ = _ridge(self, X, 2 * y - 1.0, judges)
        return self


class MultilabelLogistic(BaseEstimator):
    """One logistic regression for each label, each with a penalty of its own.

    Args:
        Cs, class_weight: As in `LogisticHead`; "balanced" weighs each label's own two sides.

    Attributes:
        coef_: (labels, d); `intercept_` (labels,).
        C_: (labels,) the penalties that were chosen.
        selection_: One dict per label and C.
    """

    def __init__(self, Cs: int | Sequence[float] = 10, *, class_weight: ClassWeight = None) -> None:
        self.Cs = Cs
        self.class_weight = class_weight

    def fit(
        self, X: np.ndarray, y: np.ndarray, *, validation_data: ValidationData | None = None
    ) -> Self:
        """Learn from X (n, d) and indicators y (n, labels); returns self."""
        options: dict[str, Any] = {}
        if validation_data is not None:
            folds = [np.split(np.arange(len(X) + len(validation_data[0])), [len(X)])]
            options = {"cv": folds, "refit": False}
            X, y = (np.concatenate(pair) for pair in zip((X, y), validation_data, strict=True))
        heads = []
        for label in y.T:
            head = LogisticHead(self.Cs, class_weight=self.class_weight, **options)
            heads.append(head.fit(X, label.astype(np.int64)))
        self.coef_ = np.concatenate([head.coef_ for head in heads])
        self.intercept_ = np.concatenate([head.intercept_ for head in heads])
        self.C_ = np.array([head.C_ for head in heads])
        self.selection_ = [
            {"label": place, **row}
            for place, head in enumerate(heads)
            for row in getattr(head, "selection_", [])
        ]
        return self


def _ridge(
    head: Any, X: np.ndarray, Y: np.ndarray, judges: ValidationData | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return coef (c, d) and intercept (c,) at the best penalty; sets what was chosen."""
    alphas = penalties("alphas", head.alphas, LOW, HIGH)
    X = X.astype(np.float64, copy=False)
    train = sliced(X, Y, np.ones(len(X)), np.arange(len(X)))
    path = Path.of(Moments.of(train, Y.shape[1]), alphas)
    coefs = path.coefs()
    errors = np.zeros(len(alphas))
    for x, target, weights in train() if judges is None else [(*judges, np.ones(len(judges[0])))]:
        x = x.astype(np.float64, copy=False)
        if judges is None:
            out = path.leave_one_out(x, target, weights, coefs)
        else:
            out = path.fits(x, coefs)
        errors += ((out - target[:, None]) ** 2).mean(axis=2).sum(axis=0)
    errors /= len(X) if judges is None else len(judges[0])
    best = int(np.lexsort((-alphas, errors))[0])
    head.alpha_ = float(alphas[best])
    head.selection_ = [
        {"alpha": float(a), "squared_error": float(e)} for a, e in zip(alphas, errors, strict=True)
    ]
    return path.fit(coefs, best)


ESTIMATORS: Mapping[str, Mapping[str, Any]] = {
    "multilabel": {"logistic": MultilabelLogistic, "ridge": MultilabelRidge},
    "regression": {"ridge": RidgeRegressor},
}
KERAS = ("linear", "mlp")
"""Estimators of classes that learn labels and numbers too: see `heads.neural_outputs`."""


def make(
    task: str, name: str, settings: Mapping[str, Any], class_weight: str | None, seed: int = 0
) -> Any:
    """Return an estimator of a task, not fitted yet.

    Raises:
        HeadError: If the task has no such estimator, or it has no such setting.
    """
    known = ESTIMATORS[task]
    if name in KERAS:
        return _keras(task, estimators.make(name, settings, class_weight, seed))
    if name not in known:
        raise HeadError(
            f"--{task} is learned by {', '.join([*known, KERAS[0]])} or {KERAS[1]}. Received: "
            f"--estimator {name}"
        )
    cls = known[name]
    takes = cls().get_params()
    given: dict[str, Any] = {}
    for key, value in settings.items():
        parameter = estimators.ALIASES.get(key, key)
        if parameter not in takes:
            raise HeadError(f"{name} has no setting {key!r}. It takes: {', '.join(takes)}")
        given[parameter] = estimators.listed(value) if key != parameter else value
    if class_weight is not None:
        if "class_weight" not in takes:
            raise HeadError(
                f"{name} does not weigh classes under --{task}. Leave --class-weight out"
                + (", or give --estimator logistic" if task == "multilabel" else "")
            )
        given["class_weight"] = class_weight
    return cls(**given)


def _keras(task: str, head: Any) -> Any:
    quiet_import("keras")
    from heads.neural_outputs import KerasLabels, KerasRegressor

    return KerasLabels(head) if task == "multilabel" else KerasRegressor(head)
