"""One temperature, so that probabilities mean what they say.

Logits are divided by it before the softmax; it is fitted on rows that were not trained on, and
moves no prediction. NumPy alone: SciPy's optimizers take longer to import than this takes to run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from heads.errors import HeadError

BOUNDS = (0.01, 100.0)
"""Least and greatest temperature, in units of the logits' standard deviation within a row: at
one end every row is certain, at the other all classes are alike."""
BLOCK = 2**17
"""Logits at once: a block of 1 MB stays in the processor's cache."""
STEPS = 100
TOLERANCE = 1e-9
"""Relative, of the temperature."""


def fit_temperature(logits: np.ndarray, codes: np.ndarray) -> float:
    """Return the temperature T that minimizes the log loss of softmax(logits / T).

    The loss is convex in 1 / T, and its slope, the mean of the expected logit less the true one,
    is brought to zero by Newton's method inside a bracket.

    Where no row is wrong, the loss only falls as T does, and the rows cannot say how far. Then
    one row in n + 2 counts for the runner-up instead, which is what n right answers in a row
    leave open (Laplace's rule of succession); Platt smooths his targets in the same way.

    Args:
        logits: (n, classes), finite, of rows that were not trained on.
        codes: (n,) integers, the class of each row.

    Returns:
        T > 0, within `BOUNDS`; 1.0 where there are no rows, or all logits of a row are equal.

    Raises:
        HeadError: If a logit is not finite.

    Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
    section 4.2; Platt, Probabilistic Outputs for Support Vector Machines, 1999, section 2.2.
    """
    if not np.isfinite(logits).all():
        raise HeadError("Logits are finite numbers. Received: NaN or infinity; scale the features")
    spread = _spread(logits)
    if spread == 0:
        return 1.0
    wanted = _wanted(logits, codes)
    least, greatest = (bound * spread for bound in BOUNDS)
    return 1 / _root(logits, wanted, 1 / greatest, 1 / least)


def _root(logits: np.ndarray, wanted: float, low: float, high: float) -> float:
    """Return 1 / T between `low` and `high` at which the expected logit is `wanted`."""
    inverse, moved = min(max(1.0, low), high), np.inf
    for _ in range(STEPS):
        expected, variance = _moments(logits, inverse)
        slope = expected - wanted  # rises with 1 / T, at the rate `variance`
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = slope / variance if variance > 0 else np.inf
        new = inverse - step
        if not low < new < high or abs(new - inverse) > moved / 2:
            new = np.sqrt(low * high)  # Newton's steps do not shrink: far out, slopes vanish
        inverse, moved = new, abs(new - inverse)
        if moved <= TOLERANCE * inverse:
            break
    return float(inverse)


def _blocks(logits: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows as float64, each less its largest logit."""
    rows = max(1, BLOCK // logits.shape[1])
    for start in range(0, len(logits), rows):
        z = logits[start : start + rows].astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        yield z


def _moments(logits: np.ndarray, inverse: float) -> tuple[float, float]:
    """Return mean and variance of a logit under softmax(logits * inverse), averaged over rows."""
    mean, variance = 0.0, 0.0
    for z in _blocks(logits):
        p = np.exp(z * inverse)
        total = p.sum(axis=1)
        p *= z
        first, second = p.sum(axis=1) / total, np.einsum("nc,nc->n", p, z) / total
        mean += first.sum()
        variance += (second - first**2).sum()
    return mean / len(logits), variance / len(logits)


def _spread(logits: np.ndarray) -> float:
    """Return the standard deviation of logits about the mean of their row; 0.0 without rows."""
    total = sum(z.var(axis=1).sum() for z in _blocks(logits))
    return float(np.sqrt(total / max(len(logits), 1)))


def _wanted(logits: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean logit of the true class, less the largest of the row: 0 or below."""
    right, runner_up, start = [], [], 0
    for z in _blocks(logits):
        right.append(z[np.arange(len(z)), codes[start : start + len(z)]])
        runner_up.append(np.partition(z, -2, axis=1)[:, -2])
        start += len(z)
    true = np.concatenate(right)
    if true.any():
        return float(true.mean())
    return float(np.concatenate(runner_up).mean() / (len(true) + 2))
