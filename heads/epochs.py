"""Epochs of training: which rows, in which order and which view, and what is kept of them.

    rows ─▶ batches, shuffled anew each epoch ─▶ a trainer ─▶ weights after each epoch
         ─▶ loss and accuracy, by NumPy ─▶ history, and the weights of the best epoch

Features are standardized batch by batch, and the standardization is folded into the first layer
after each epoch: what is judged here is, to the bit, what predicts later.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heads.aims import judge, last_bias
from heads.augmenting import Augmentation, augmented, blurred
from heads.errors import HeadError
from heads.keras_stack import Stack, Trainer, borrowed
from heads.scoring import Dense

OnEpoch = Callable[[Mapping[str, Any]], None]

# What a draw is for. Each has a generator of its own, so that views do not change the order.
_KERNELS, _ORDER, _VIEWS, _AUGMENT = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows with what they are trained for."""

    X: np.ndarray
    """(n, d) float32 or float64."""
    codes: np.ndarray
    """(n,) int, the class of each row; or (n, outputs) labels or numbers, see `heads.aims`."""
    weights: np.ndarray
    """Of rows, or of each output of them: the shape of `codes`, float64, mean 1."""
    views: np.ndarray | None = None
    """(K, n, d): versions of the same rows, of which each epoch takes one per row; or None."""

    def __len__(self) -> int:
        return len(self.X)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Standardization: (x - mean) / scale."""

    mean: np.ndarray
    """(d,) float64."""
    scale: np.ndarray
    """(d,) float64, above 0."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return x (b, d) standardized, in its own type."""
        return (x - self.mean.astype(x.dtype)) / self.scale.astype(x.dtype)

    def fold(
        self, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray], activation: str
    ) -> Dense:
        """Return the stack that takes features as they are, from one that takes them scaled.

        ((x - mean) / scale) @ K + b = x @ (K / scale) + (b - mean @ (K / scale))
        """
        kernel = kernels[0] / self.scale[:, None]
        bias = biases[0] - self.mean @ kernel
        dtype = kernels[0].dtype
        return Dense(
            (kernel.astype(dtype), *kernels[1:]), (bias.astype(dtype), *biases[1:]), activation
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """How long to train, and on how much at once."""

    number: int
    batch_size: int
    patience: int
    """Epochs without a lower validation loss, after which training stops; 0 for never."""
    seed: int
    """Decides kernels, order, views, augmentation and dropout."""
    augment: tuple[Augmentation, ...] = ()
    channels: int = 0
    """Of the map that a row holds, for augmentation by channel; 0 where rows are pooled."""
    on_epoch: OnEpoch | None = None
    """Is called with each row of the history; what it raises stops the training."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained stack."""

    head: Dense
    best_epoch: int
    """The epoch, from 1, after which the weights were these."""
    history: list[dict[str, Any]]
    """One row per epoch, as `LinearHead.history_`."""


def train(
    stack: Stack, rows: Rows, scaling: Scaling, epochs: Epochs, validation: Rows | None
) -> Trained:
    """Train a stack.

    Returns:
        The weights after the epoch with the lowest validation loss, if there are patience and
        validation rows; else those after the last epoch.

    Raises:
        HeadError: If the loss stops being a finite number.
    """
    history: list[dict[str, Any]] = []
    best, lowest = None, math.inf
    with borrowed(stack) as trainer:
        trainer.reset(*_first_weights(stack, rows, epochs.seed), epochs.seed)
        for epoch in range(1, epochs.number + 1):
            start, learning_rate = time.perf_counter(), trainer.learning_rate
            _see_all(trainer, rows, scaling, epochs, epoch)
            head, outcome = _outcome(trainer, stack, rows, scaling, validation)
            _check_finite(outcome, epoch, stack)
            row = {"stage": "head", "epoch": epoch, **outcome, "learning_rate": learning_rate}
            history.append(row | {"seconds": time.perf_counter() - start})
            if epochs.on_epoch is not None:
                epochs.on_epoch(dict(history[-1]))
            watched = outcome["val_loss"] if epochs.patience and validation else -epoch
            if watched < lowest:
                best, lowest = Trained(head, epoch, history), watched
            elif best is not None and epoch - best.best_epoch >= epochs.patience:
                break
    assert best is not None  # the loss of the first epoch is finite
    return best


def _see_all(trainer: Trainer, rows: Rows, scaling: Scaling, epochs: Epochs, epoch: int) -> None:
    """Train on every row once, in the view that this epoch has of it."""
    random = np.random.default_rng([epochs.seed, epoch, _VIEWS])
    picks = None if rows.views is None else random.integers(len(rows.views), size=len(rows))
    draws = np.random.default_rng([epochs.seed, epoch, _AUGMENT])
    for chosen, weights in batches(rows.weights, epochs.batch_size, epochs.seed, epoch):
        if rows.views is None or picks is None:
            x = rows.X[chosen]
        else:
            x = rows.views[picks[chosen], chosen]
        codes = rows.codes[chosen]
        if not epochs.augment:
            trainer.step(scaling(x), codes, weights)
            continue
        x = scaling(augmented(epochs.augment, x, epochs.channels or x.shape[1], draws))
        targets = np.eye(int(rows.codes.max()) + 1)[codes] if codes.ndim == 1 else codes
        trainer.step(*blurred(epochs.augment, x, targets, draws), weights)


def _outcome(
    trainer: Trainer, stack: Stack, rows: Rows, scaling: Scaling, validation: Rows | None
) -> tuple[Dense, dict[str, Any]]:
    """Return the head as it is now, and what rows say of it."""
    with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
        head = scaling.fold(*trainer.weights(), stack.activation)
        loss, accuracy = judge(stack, head, rows)
        held_out = judge(stack, head, validation) if validation else (None, None)
    return head, {
        "loss": loss,
        "accuracy": accuracy,
        "val_loss": held_out[0],
        "val_accuracy": held_out[1],
    }


def _check_finite(outcome: Mapping[str, Any], epoch: int, stack: Stack) -> None:
    losses = [outcome["loss"], outcome["val_loss"] or 0.0]
    if not all(map(math.isfinite, losses)):
        raise HeadError(
            f"The loss is not a number after epoch {epoch}: its steps were too long. Give a "
            f"learning_rate below {stack.optimizer.learning_rate:g}"
        )


def batches(
    weights: np.ndarray, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions, weights) of each batch of an epoch; all batches have one size.

    The last one repeats rows with a weight of 0 and makes up for them with the weights of the
    others, so that its loss is the mean over those that are left: one shape is traced, not two.

    Args:
        weights: (n,) weight of each row, or (n, outputs).
        batch_size: Rows of a batch; n where there are fewer.
        seed: Decides the order, with the epoch.
        epoch: From 1.
    """
    order = batch_order(len(weights), seed, epoch)
    size = min(batch_size, len(order))
    for start in range(0, len(order), size):
        real = order[start : start + size]
        chosen = np.resize(real, size)
        given = weights[chosen] * (size / len(real))
        given[len(real) :] = 0
        yield chosen, given


def batch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order (count,) in which an epoch, from 1, sees its rows."""
    return np.random.default_rng([seed, epoch, _ORDER]).permutation(count)


def _first_weights(
    stack: Stack, rows: Rows, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the (kernels, biases) that training starts from.

    Hidden kernels are uniform draws (Glorot and Bengio, 2010, eq. 16). The last kernel is zero
    and the last bias is that of the best head which does not look at features: a linear head
    starts from no draw, and rare classes start rare.
    """
    random = np.random.default_rng([seed, 0, _KERNELS])
    kernels = [
        random.uniform(-1, 1, shape) * math.sqrt(6 / sum(shape)) for shape in stack.shapes[:-1]
    ]
    biases = [np.zeros(units) for units in stack.hidden]
    return [*kernels, np.zeros(stack.shapes[-1])], [*biases, last_bias(stack, rows)]
