"""A linear head for stores that memory does not hold: the store is streamed, pass by pass.

It is `heads.batched` with one head: what `LinearHead` does in memory, with NumPy alone.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from heads.batched import Heads
from heads.by_logits import Decisions
from heads.epochs import Scaling
from heads.errors import HeadError
from heads.grid import Setting
from heads.neural_rows import scaling_of
from heads.scoring import Dense


class StreamHead(Decisions):
    """Logistic regression by Adam, block by block.

    Features are standardized by the first block, so its rows should be of all classes, as
    `heads fit` gives them.

    Args:
        learning_rate: Above 0.
        weight_decay: Share of each kernel, times the learning rate, that every step takes away.
        batch_size: Rows of a step.
        max_iter: Most passes over the rows.
        n_iter_no_change: Passes without a better validation accuracy, after which it ends.
        random_state: Nothing is drawn here; the order of the rows is drawn by what streams them.

    Attributes:
        coef_: (1, d) for two classes, else (classes, d); `intercept_` likewise.
        classes_: Labels, sorted.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        batch_size: int = 256,
        max_iter: int = 10,
        n_iter_no_change: int = 3,
        random_state: Any = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Make `max_iter` passes over X (n, d) and y (n,), in their order; returns self."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        classes = np.unique(y)
        self.__dict__.pop("_heads", None)
        for _ in range(self.max_iter):
            self.partial_fit(X, y, classes)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Learn from one block X (m, d), y (m,); the first call names all classes."""
        X = np.asarray(X, np.float32)
        if not hasattr(self, "_heads"):
            self._start(X, np.unique(y) if classes is None else np.asarray(classes))
        codes = np.searchsorted(self.classes_, y)
        ones = np.ones(self.batch_size, np.float32)
        for start in range(0, len(X), self.batch_size):
            x = self._scaling(X[start : start + self.batch_size])
            self._heads.step(x, codes[start : start + self.batch_size], ones[: len(x)])
        kernel, bias = self._heads.kernels[..., 0], self._heads.biases[..., 0]
        head = self._scaling.fold([kernel], [bias], "linear")
        if not np.isfinite(head.kernels[0]).all():
            raise HeadError("The steps were too long. Give a smaller learning_rate")
        self.coef_, self.intercept_ = head.kernels[0].T, head.biases[0]
        return self

    def _start(self, X: np.ndarray, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise HeadError(f"A head needs two classes. Received one class: {classes[0]!r}")
        if self.batch_size < 1 or not self.learning_rate > 0:
            raise HeadError("batch_size is at least 1 and learning_rate above 0")
        self.classes_, self.n_features_in_ = classes, X.shape[1]
        self._scaling: Scaling = scaling_of(X, np.ones(len(X)))
        setting = Setting(
            column="",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            label_smoothing=0.0,
            seed=0,
        )
        shares = np.full(len(classes), 1 / len(classes))
        self._heads = Heads.start(X.shape[1], shares, [setting])

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return Dense((self.coef_.T,), (self.intercept_,)).logits(X)
