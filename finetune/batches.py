"""Rows in batches for Keras' `fit` and `predict`, on any backend.

The order of an epoch is `heads.epochs.batch_order`: the seed and the epoch alone decide it, so
that full and suffix training, and a run that resumes, see the same rows in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from heads.epochs import batch_order

Take = Callable[[np.ndarray, int], Any]
"""Numbers of rows (n,) and the epoch → what a model takes: an array, or a list of arrays."""


class TrainBatches(keras.utils.PyDataset):
    """Every row once an epoch, in an order of its own; the last batch may be short."""

    def __init__(
        self, take: Take, targets: np.ndarray, weights: np.ndarray, batch_size: int, seed: int
    ) -> None:
        """`targets` are (n, classes) and `weights` (n,); `take` gives the inputs of rows."""
        super().__init__()
        self._take, self._targets, self._weights = take, targets, weights
        self._batch_size, self._seed = batch_size, seed
        self._epoch, self._order = 0, np.arange(0)

    def begin(self, epoch: int) -> None:
        """Turn to an epoch, from 1."""
        self._epoch = epoch
        self._order = batch_order(len(self._targets), self._seed, epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray, np.ndarray]:
        if not len(self._order):  # Keras looks at a batch before the first epoch begins
            self.begin(1)
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._take(rows, self._epoch), self._targets[rows], self._weights[rows]


class PlainBatches(keras.utils.PyDataset):
    """Rows in their order, inputs alone."""

    def __init__(self, take: Take, count: int, batch_size: int) -> None:
        """`take` gives the inputs of rows 0 to `count` - 1."""
        super().__init__()
        self._take, self._count, self._batch_size = take, count, batch_size

    def __len__(self) -> int:
        return math.ceil(self._count / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any]:
        start = index * self._batch_size
        return (self._take(np.arange(start, min(start + self._batch_size, self._count)), 0),)
