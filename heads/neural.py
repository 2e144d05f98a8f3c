"""Heads that Keras trains, on any of its backends: `LinearHead` and `MLPHead`.

They are scikit-learn classifiers. What is fitted is NumPy arrays under scikit-learn's names, and
prediction needs nothing but NumPy.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from heads.aims import ROWS, Aim
from heads.augmenting import parse
from heads.by_logits import Decisions
from heads.epochs import Epochs, OnEpoch, Rows, Scaling, Trained, train
from heads.errors import HeadError
from heads.keras_stack import Stack
from heads.neural_rows import dtype_of_backend, present, scaling_of
from heads.optimizers import SCHEDULES, OptimizerPlan, optimizer_name
from heads.ranges import check_name, check_number
from heads.scoring import ACTIVATIONS, Dense


class KerasHead(Decisions):
    """What `LinearHead` and `MLPHead` share; `LinearHead` has the words for users."""

    @abstractmethod
    def _layers(self) -> tuple[tuple[int, ...], str]:
        """Return the units of the hidden layers, and their activation.

        Raises:
            HeadError: If there is no such layer.
        """

    @abstractmethod
    def _keep(self, head: Dense) -> None:
        """Set the fitted arrays."""

    @abstractmethod
    def _head(self) -> Dense:
        """Return what was kept."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, Any] | None = None,
        views: Any = None,
        channels: int = 0,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Train.

        Args:
            X: (n, d) features. float32 is computed with as it is, all else as float64 where the
                backend has that (JAX has it only when it is told to).
            y: (n,) labels, of two classes or more.
            sample_weight: (n,) weights, at least 0; a weight of 0 is a row that is not there.
            validation_data: (X, y) for `val_loss`, `val_accuracy` and `early_stopping`, which is
                off without it: the loss on training rows does not say when to stop.
            views: (K, n, d) versions of the rows of X: every epoch takes a random one of each
                row. The standardization, `loss` and `accuracy` are those of X itself.
            channels: Of the map that a row of X holds, flattened channels last, for `augment`; 0
                for pooled features.
            on_epoch: Is called with each row of `history_`; what it raises stops the training.

        Raises:
            HeadError: If a parameter is out of range, y has one class, `validation_data` has
                labels that y has not, or the loss stops being a finite number.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        X = X.astype(dtype_of_backend(X), copy=False)
        X, y, weights, views = present(X, y, sample_weight, views)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            found = ", ".join(map(repr, classes.tolist()))
            raise HeadError(
                f"A classifier needs two classes. Received {len(classes)} class: {found}"
            )
        scaling = scaling_of(X, weights)
        weights = weights * self._weight_of_classes(classes, y, weights)[codes]
        rows = Rows(X, codes, weights / weights.mean(), views)
        held_out = _held_out(self, validation_data, classes)
        outputs = 1 if len(classes) == 2 else len(classes)
        trained = self.train_layers(
            rows, scaling, held_out, outputs, channels=channels, on_epoch=on_epoch
        )
        self.classes_ = classes
        self.history_ = trained.history
        self.best_epoch_ = trained.best_epoch
        self.n_iter_ = len(trained.history)
        self._keep(trained.head)
        return self

    def train_layers(
        self,
        rows: Rows,
        scaling: Scaling,
        held_out: Rows | None,
        outputs: int,
        *,
        aim: Aim = "classes",
        channels: int = 0,
        on_epoch: OnEpoch | None = None,
    ) -> Trained:
        """Return this head's layers, trained on rows for an aim; the head stays as it is.

        Raises:
            HeadError: If a parameter is out of range, or the loss stops being a finite number.
        """
        self._check_parameters()
        width = rows.X.shape[1]
        if channels and width % channels:
            raise HeadError(f"{width} features are no map of {channels} channels")
        stack = self._stack(rows, outputs, aim)
        return train(stack, rows, scaling, self._epochs(on_epoch, channels), held_out)

    def _logits(self, X: Any) -> np.ndarray:
        """Return (n, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        head = self._head()
        blocks = [head.logits(X[start : start + ROWS]) for start in range(0, len(X), ROWS)]
        return np.concatenate(blocks)

    def _check_parameters(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("epochs", self.epochs, least=1, whole=True)
        check_number("batch_size", self.batch_size, least=1, whole=True)
        check_number("dropout", self.dropout, least=0, below=1)
        check_number("focal", self.focal, least=0)
        parse(self.augment)
        check_number("label_smoothing", self.label_smoothing, least=0, below=1)
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, least=0)
        if self.early_stopping is not None:
            check_number("early_stopping", self.early_stopping, least=0, whole=True)
        check_name("schedule", self.schedule, SCHEDULES)
        if not (self.class_weight in (None, "balanced") or isinstance(self.class_weight, Mapping)):
            raise HeadError(
                f"class_weight is balanced, None, or a dict of classes. "
                f"Received: {self.class_weight!r}"
            )
        self._layers()
        optimizer_name(self.optimizer)

    def _weight_of_classes(
        self, classes: np.ndarray, y: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Return (classes,): the factor for rows of each class."""
        if self.class_weight == "balanced":
            return 1 / np.array([weights[y == label].sum() for label in classes])
        return compute_class_weight(self.class_weight, classes=classes, y=y)

    def _stack(self, rows: Rows, outputs: int, aim: Aim) -> Stack:
        hidden, activation = self._layers()
        steps = self.epochs * math.ceil(len(rows) / min(self.batch_size, len(rows)))
        return Stack(
            width=rows.X.shape[1],
            hidden=hidden,
            outputs=outputs,
            aim=aim,
            activation=activation,
            dropout=float(self.dropout),
            label_smoothing=float(self.label_smoothing),
            focal=float(self.focal),
            dtype=rows.X.dtype.name,
            optimizer=OptimizerPlan(
                name=optimizer_name(self.optimizer),
                learning_rate=float(self.learning_rate),
                schedule=self.schedule,
                steps=0 if self.schedule == "constant" else steps,
                weight_decay=None if self.weight_decay is None else float(self.weight_decay),
            ),
        )

    def _epochs(self, on_epoch: OnEpoch | None, channels: int) -> Epochs:
        return Epochs(
            number=int(self.epochs),
            batch_size=int(self.batch_size),
            patience=int(self.early_stopping or 0),
            seed=_seed(self.random_state),
            augment=parse(self.augment),
            channels=channels,
            on_epoch=on_epoch,
        )


class LinearHead(KerasHead):
    """Logistic regression, trained by Keras with one of its optimizers.

    Args:
        optimizer: A name in `keras.optimizers`; case does not count.
        learning_rate: Of the first step, above 0.
        schedule: "constant"; "cosine" and "linear" fall to 0 at the last of all `epochs`.
        epochs: How often every row is seen, at least 1.
        batch_size: Rows of a step, at least 1.
        dropout: Share of the standardized features that each step leaves out, 0 to below 1.
        label_smoothing: Share of each label that is spread over all classes, 0 to below 1.
        focal: Exponent of the focal loss, which counts rows less the surer they are; 0 is
            cross-entropy. Losses that are told, and stop the training, are cross-entropies.
        augment: What is done to training features at every step, such as "noise:0.1" or
            ["brightness:0.2", "mixup:0.2"]; nothing by default. See `heads.augmenting`.
        weight_decay: As `keras.optimizers` has it, for kernels; None for the optimizer's default.
        early_stopping: Epochs without a lower validation loss, after which training stops and the
            best epoch is restored; None or 0 trains all epochs and keeps the last.
        class_weight: "balanced" gives every class the same weight in all, a dict gives rows of
            each class a weight, None gives every row one.
        random_state: Decides everything that is drawn by chance.

    Attributes:
        coef_: (1, d) for two classes, else (classes, d); for features as they are.
        intercept_: (1,) or (classes,).
        classes_: Labels, sorted.
        best_epoch_: The epoch, from 1, whose weights were kept.
        n_iter_: Epochs that were trained.
        history_: One dict per epoch: stage ("head"), epoch (from 1), loss, accuracy, val_loss,
            val_accuracy (None without validation data), learning_rate (of the epoch's first
            step), seconds. Losses are mean cross-entropies in nats after the epoch, without
            dropout, with the smoothing and, on training rows, the weights of rows.
    """

    def __init__(
        self,
        *,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        epochs: int = 30,
        batch_size: int = 128,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        augment: str | Sequence[str] | None = None,
        weight_decay: float | None = None,
        early_stopping: int | None = 5,
        class_weight: str | Mapping[Any, float] | None = None,
        random_state: Any = None,
    ) -> None:
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.focal = focal
        self.augment = augment
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.class_weight = class_weight
        self.random_state = random_state

    def _layers(self) -> tuple[tuple[int, ...], str]:
        return (), "linear"

    def _keep(self, head: Dense) -> None:
        self.coef_, self.intercept_ = head.kernels[0].T, head.biases[0]

    def _head(self) -> Dense:
        return Dense((self.coef_.T,), (self.intercept_,))


class MLPHead(KerasHead):
    """A multilayer perceptron, trained by Keras with one of its optimizers.

    Args:
        hidden: Units of the hidden layer, or of each of several.
        activation: Of hidden layers: relu, silu, gelu (its form with tanh), tanh or linear.
        optimizer, learning_rate, schedule, epochs, batch_size: As in `LinearHead`.
        dropout: Share of each hidden layer that each step leaves out, 0 to below 1.
        label_smoothing, focal, augment, weight_decay, early_stopping, class_weight, random_state:
            As in `LinearHead`.

    Attributes:
        coefs_: Kernel of each layer, (d, k), (k, l), ...; the first is for features as they are.
            The last has one column for two classes, else one per class.
        intercepts_: Biases of each layer, (k,), (l,), ...
        classes_, best_epoch_, n_iter_, history_: As in `LinearHead`.
    """

    def __init__(
        self,
        hidden: int | tuple[int, ...] = 256,
        *,
        activation: str = "relu",
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        epochs: int = 30,
        batch_size: int = 128,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        augment: str | Sequence[str] | None = None,
        weight_decay: float | None = None,
        early_stopping: int | None = 5,
        class_weight: str | Mapping[Any, float] | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.focal = focal
        self.augment = augment
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.class_weight = class_weight
        self.random_state = random_state

    def _layers(self) -> tuple[tuple[int, ...], str]:
        check_name("activation", self.activation, tuple(ACTIVATIONS))
        hidden = self.hidden if isinstance(self.hidden, tuple | list) else (self.hidden,)
        if not hidden:
            raise HeadError("hidden is one number or more. Received: (). Without any, use linear")
        for units in hidden:
            check_number("hidden", units, least=1, whole=True)
        return tuple(map(int, hidden)), self.activation

    def _keep(self, head: Dense) -> None:
        self.coefs_, self.intercepts_ = list(head.kernels), list(head.biases)

    def _head(self) -> Dense:
        return Dense(tuple(self.coefs_), tuple(self.intercepts_), self.activation)


def _held_out(
    estimator: KerasHead, data: tuple[Any, Any] | None, classes: np.ndarray
) -> Rows | None:
    """Return validation rows, checked."""
    if data is None:
        return None
    X, y = validate_data(estimator, *data, dtype=[np.float64, np.float32], reset=False)
    strange = np.setdiff1d(y, classes)
    if len(strange):
        raise HeadError(
            f"validation_data has {strange.tolist()[0]!r}, which is no class of the rows that are "
            f"trained on. Known: {', '.join(map(str, classes))}"
        )
    return Rows(X, np.searchsorted(classes, y), np.ones(len(y)))


def _seed(random_state: Any) -> int:
    """Return a whole number of at least 0: `random_state` itself where it is one."""
    random = check_random_state(random_state)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(random.randint(2**31 - 1))
