"""What Keras heads are trained for, and how far a stack of layers is from it.

    classes   y (n,) codes: one class of all           cross-entropy
    labels    y (n, labels) of 0 and 1, each by itself  binary cross-entropies, their mean
    numbers   y (n, targets), standardized              squared errors, their mean

Losses are by NumPy, and what stops a training: Keras computes the same on its batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from heads.scoring import Dense

if TYPE_CHECKING:
    from heads.epochs import Rows
    from heads.keras_stack import Stack

Aim = Literal["classes", "labels", "numbers"]
ROWS = 4096
"""Rows that NumPy computes at once, so that no copy of all of them is made."""
RARE = 1e-9
"""Share of a class or label that has no weight at all."""


def last_bias(stack: Stack, rows: Rows) -> np.ndarray:
    """Return the bias (outputs,) of the best head that does not look at features."""
    if stack.aim == "numbers":
        return np.zeros(stack.outputs)
    if stack.aim == "labels":
        share = _smoothed(np.average(rows.codes, axis=0, weights=rows.weights), stack, 2)
        return np.log(np.maximum(share, RARE)) - np.log(np.maximum(1 - share, RARE))
    classes = max(stack.outputs, 2)
    share = np.bincount(rows.codes, rows.weights, classes) / len(rows)
    logits = np.log(np.maximum(_smoothed(share, stack, classes), RARE))
    return logits[1:] - logits[0] if classes != stack.outputs else logits


def judge(stack: Stack, head: Dense, rows: Rows) -> tuple[float, float | None]:
    """Return the weighted mean loss, and the share of rows, or of labels, that is right.

    Numbers are never right. A smoothed label has 1 - s of its weight on its own class, and s
    spread over all of them; a label by itself is one of two.
    """
    losses = np.empty(rows.weights.shape)
    right = 0
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        logits = head.logits(rows.X[part]).astype(np.float64)
        if stack.aim == "classes":
            codes = rows.codes[part, None]
            losses[part] = _cross_entropies(logits, codes, stack.label_smoothing)
            right += int((logits.argmax(axis=1) == codes[:, 0]).sum())
            continue
        z, y = logits[:, -stack.outputs :], rows.codes[part]
        if stack.aim == "numbers":
            losses[part] = (z - y) ** 2
        else:
            losses[part] = _binary_cross_entropies(z, _smoothed(y, stack, 2))
            right += int(((z > 0) == (y > 0)).sum())
    loss = float(np.average(losses, weights=rows.weights))
    return loss, None if stack.aim == "numbers" else right / losses.size


def _smoothed(share: np.ndarray, stack: Stack, classes: int) -> np.ndarray:
    return (1 - stack.label_smoothing) * share + stack.label_smoothing / classes


def _cross_entropies(logits: np.ndarray, codes: np.ndarray, smoothing: float) -> np.ndarray:
    """Return (n,) nats for logits (n, classes) and codes (n, 1)."""
    peak = logits.max(axis=1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))
    true = np.take_along_axis(logits, codes, axis=1)[:, 0]
    return log_sum - (1 - smoothing) * true - smoothing * logits.mean(axis=1)


def _binary_cross_entropies(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return nats for logits z and shares y, both (n, labels); exp(z) would overflow."""
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
