"""Keras heads of several outputs: labels that do not exclude each other, and numbers.

Each takes a `LinearHead` or an `MLPHead` that says how to train, and is itself what is trained.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from heads.aims import Aim
from heads.epochs import OnEpoch, Rows
from heads.errors import HeadError
from heads.neural import KerasHead, LinearHead
from heads.neural_rows import dtype_of_backend, present, scaling_of
from heads.scoring import Dense

ValidationData = tuple[np.ndarray, np.ndarray]


class KerasLabels(BaseEstimator):
    """Labels that do not exclude each other: one stack of layers, a sigmoid for each label.

    Args:
        head: How to train. Its loss is the mean of binary cross-entropies, or of binary focal
            losses with `focal`; `class_weight="balanced"` gives both sides of each label the same
            weight in all.

    Attributes:
        dense_: The trained layers, logits of labels out.
        best_epoch_, n_iter_, history_: As in `LinearHead`; accuracy is the share of labels that
            are right at a probability of one half.
    """

    def __init__(self, head: KerasHead) -> None:
        self.head = head

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        validation_data: ValidationData | None = None,
        views: Any = None,
        channels: int = 0,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Learn from X (n, d) and indicators y (n, labels); the rest as `LinearHead.fit` has it.

        Raises:
            HeadError: If a parameter is out of range, or the loss stops being a finite number.
        """
        if self.head.class_weight not in (None, "balanced"):
            raise HeadError(
                f"Under --multilabel class_weight is balanced or None. Received: "
                f"{self.head.class_weight!r}"
            )
        weights = np.ones(y.shape)
        if self.head.class_weight == "balanced":
            weights = _balanced(y)
        options = {"views": views, "channels": channels, "on_epoch": on_epoch}
        self.dense_ = _trained(self, "labels", X, y, weights, validation_data, **options)
        return self


class KerasRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Numbers, by squared error; every number is standardized and counts the same.

    Args:
        head: How to train; it has no class_weight, label_smoothing or focal. A `LinearHead` by
            default.

    Attributes:
        dense_: The trained layers, numbers out in their own units.
        best_epoch_, n_iter_, history_: As in `LinearHead`, without accuracy; losses are squared
            deviations.
    """

    def __init__(self, head: KerasHead | None = None) -> None:
        self.head = head

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation_data: ValidationData | None = None,
        views: Any = None,
        channels: int = 0,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Learn from X (n, d) and y (n,) or (n, targets); the rest as `LinearHead.fit` has it.

        Raises:
            HeadError: If a parameter is out of range or is about classes, or the loss stops being
                a finite number.
        """
        for name in ("class_weight", "label_smoothing", "focal"):
            if getattr(self.head, name, None):
                raise HeadError(f"{name} is about classes, and --regression has none. Leave it out")
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        Y = np.asarray(y, np.float64).reshape(len(X), -1)
        level, scale = Y.mean(axis=0), Y.std(axis=0)
        scale[scale == 0] = 1
        if validation_data is not None:
            judges = np.asarray(validation_data[1], np.float64).reshape(-1, Y.shape[1])
            validation_data = validation_data[0], (judges - level) / scale
        standard, options = (Y - level) / scale, {"views": views, "channels": channels}
        dense = _trained(
            self,
            "numbers",
            X,
            standard,
            np.ones(Y.shape),
            validation_data,
            on_epoch=on_epoch,
            **options,
        )
        kernel, bias = dense.kernels[-1], dense.biases[-1]
        self.dense_ = Dense(
            (*dense.kernels[:-1], (kernel * scale).astype(kernel.dtype)),
            (*dense.biases[:-1], (bias * scale + level).astype(bias.dtype)),
            dense.activation,
        )
        self._flat = y.ndim == 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return numbers (n,) or (n, targets) for X (n, d)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        found = self.dense_.logits(X)[:, -len(self.dense_.biases[-1]) :]
        return found[:, 0] if self._flat else found


def _trained(
    outer: Any,
    aim: Aim,
    X: np.ndarray,
    Y: np.ndarray,
    weights: np.ndarray,
    validation: ValidationData | None,
    *,
    views: Any,
    channels: int,
    on_epoch: OnEpoch | None,
) -> Dense:
    """Return trained layers; sets what `KerasLabels` and `KerasRegressor` say of epochs."""
    head = LinearHead() if outer.head is None else outer.head
    X = X.astype(dtype_of_backend(X), copy=False)
    views = present(X, Y, None, views)[3]
    rows = Rows(X, Y, weights, views)
    held_out = None
    if validation is not None:
        held_out = Rows(validation[0], validation[1], np.ones(validation[1].shape))
    scaling = scaling_of(X, np.ones(len(X)))
    trained = head.train_layers(
        rows, scaling, held_out, Y.shape[1], aim=aim, channels=channels, on_epoch=on_epoch
    )
    outer.history_, outer.best_epoch_ = trained.history, trained.best_epoch
    outer.n_iter_ = len(trained.history)
    return trained.head


def _balanced(y: np.ndarray) -> np.ndarray:
    """Return weights (n, labels), of mean 1 for each label, with both of its sides alike in all.

    A label that all rows have, or none, has one side: its rows weigh 1.
    """
    share = y.mean(axis=0)
    both = (share > 0) & (share < 1)
    with np.errstate(divide="ignore"):
        weights = np.where(y > 0, 0.5 / share, 0.5 / (1 - share))
    return np.where(both, weights, 1.0)
