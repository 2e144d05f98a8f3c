"""Logistic regression at many penalties, on several folds at once.

With Z the standardized rows of a fold, w their weights and W, b what is learnt, the objective is
scikit-learn's (for two classes W is one column, the logit of the second class):

    f(W, b) = sum_i w_i * -log softmax(z_i W + b)[y_i]  +  |W|² / (2 C)

It is minimized by L-BFGS (Nocedal 1980), where an iteration costs one product of the rows with a
direction, and one of the transposed rows with what is left to explain. What keeps them few:

- The first guess of the Hessian has the classes' part and the features' part of the true one, and
  what steps changed goes on from penalty to penalty (`heads/curvature.py`).
- W is close to a parabola in log C, so the next penalty starts where the path leads.
- Margins are linear in W: trying another length of a step costs no product with the rows.
- Folds are nearly the same problem and take their steps together, since a product of the rows with
  the directions of five costs little more than with one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from heads.curvature import FirstGuess, Metric, Spectrum

BLOCK = 1024
"""Rows of which moments are taken at once."""
STRIDE = 10.0
"""Most that one penalty of a path is times the one before."""
ROUGH = 1e-3
"""Tolerance at penalties that only lead to others."""
MAX_TRIALS = 20
"""Lengths of a step that are tried."""


def moments(X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation of each feature, per problem.

    They are StandardScaler's: the deviation of a feature that does not vary is 1.

    Args:
        X: (n, d).
        weights: (n, b), not all 0 in a problem.

    Returns:
        mean and deviation, (b, d) float64.
    """
    weights = weights / weights.sum(axis=0)
    shift = X[np.flatnonzero(weights.any(axis=1))[:BLOCK]].mean(axis=0)
    first, second = np.zeros((2, weights.shape[1], X.shape[1]))
    for start in range(0, len(X), BLOCK):
        block = X[start : start + BLOCK] - shift
        w = weights[start : start + BLOCK].T.astype(X.dtype)
        first += w @ block
        second += w @ (block * block)
    mean, variance = first + shift, second - first**2
    # Cancellation: what hardly varies beside its distance from the shift is computed again.
    for column in np.flatnonzero((variance <= 1e-4 * first**2).any(axis=0)):
        values = X[:, column].astype(np.float64)
        mean[:, column] = weights.T @ values
        variance[:, column] = ((values[:, None] - mean[:, column]) ** 2 * weights).sum(axis=0)
    eps = np.finfo(np.float64).eps
    rounding = len(X) * eps * variance + (len(X) * mean * eps) ** 2
    return mean, np.where(variance <= rounding, 1, np.sqrt(np.maximum(variance, 0)))


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one or several problems that share them; T is (b, d + 1, j), the intercept last."""

    X: np.ndarray
    """(n, d), roughly standardized; its dtype is that of the products."""
    codes: np.ndarray
    """(n,) the class of each row."""
    weights: np.ndarray
    """(n, b) float64; 0 where a row is not in a problem."""
    center: np.ndarray
    """(b, d, 1) float64: mean of each column of X over the rows of a problem."""
    scale: np.ndarray
    """(b, d, 1) float64: its standard deviation."""
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of T; j is 1 for two classes, else one per class."""
        problems, width, _ = self.center.shape
        return problems, width + 1, 1 if self.classes == 2 else self.classes

    def only(self, problems: np.ndarray) -> Rows:
        """Return some of the problems, by index; the rows stay."""
        return replace(
            self,
            weights=self.weights[:, problems],
            center=self.center[problems],
            scale=self.scale[problems],
        )

    def margins(self, T: np.ndarray) -> np.ndarray:
        """Return (n, b, classes): logits less the logit of the row's own class.

        What a small loss hangs on is the difference of large logits: it is taken once, here.
        """
        slopes = T[:, :-1] / self.scale
        offset = T[:, -1] - (self.center * slopes).sum(axis=1)
        flat = slopes.astype(self.X.dtype).transpose(1, 0, 2).reshape(self.X.shape[1], -1)
        logits = (self.X @ flat).reshape(-1, *offset.shape)
        logits += offset.astype(logits.dtype)
        if self.classes == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
        return logits - np.take_along_axis(logits, self.codes[:, None, None], axis=2)

    def gradient(self, R: np.ndarray) -> np.ndarray:
        """Return (b, d + 1, j): sums over the rows of z_i times R (n, b, classes)."""
        if self.classes == 2:
            R = R[:, :, 1:]
        sums = R.sum(axis=0, dtype=np.float64)[:, None]
        flat = self.X.T @ R.reshape(len(R), -1)  # (d, b j)
        slopes = flat.reshape(-1, *R.shape[1:]).transpose(1, 0, 2) - self.center * sums
        return np.concatenate([slopes / self.scale, sums], axis=1)


class Losses(NamedTuple):
    """Losses at some margins."""

    total: np.ndarray
    """(b,) float64: weighted sum of -log p[own class]."""
    doubt: np.ndarray
    """(b,) float64: weighted sum of 1 - p[own class], which curvature is about proportional to."""
    P: np.ndarray
    """(n, b, classes): probabilities."""
    R: np.ndarray
    """(n, b, classes): weights times (p - 1 for the own class, p for others)."""


def losses(margins: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Losses:
    """Evaluate margins (n, b, classes); exact to the last digits where p[own] is nearly 1."""
    own = codes[:, None, None]
    top = margins.max(axis=2, keepdims=True)  # >= 0, since the own margin is 0
    P = np.exp(margins - top)
    np.put_along_axis(P, own, 0, axis=2)
    others = P @ np.ones((P.shape[2], 1), P.dtype)  # quicker than a sum over few
    loss = top + np.log1p(others + np.expm1(-top))
    own_share = np.exp(-top)
    total = others + own_share
    P /= total
    others /= total
    R = P.copy()
    np.put_along_axis(R, own, -others, axis=2)
    np.put_along_axis(P, own, own_share / total, axis=2)
    R *= weights[:, :, None].astype(R.dtype)
    summed, doubt = (np.einsum("nbk,nb->b", part, weights) for part in (loss, others))
    return Losses(summed, doubt, P, R)


def log_losses(margins: np.ndarray) -> np.ndarray:
    """Return -log p[own class] (n, b) of margins (n, b, classes)."""
    top = margins.max(axis=2)
    return top + np.log(np.exp(margins - top[:, :, None]).sum(axis=2))


def _dot(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    return np.einsum("bdj,bdj->b", A, B)


def _penalty(T: np.ndarray, C: float) -> np.ndarray:
    return _dot(T[:, :-1], T[:, :-1]) / (2 * C)


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of each problem at one penalty."""

    C: float
    T: np.ndarray
    """(b, d + 1, j)."""
    iterations: np.ndarray
    """(b,) gradients that were taken, at least 1."""
    converged: np.ndarray
    """(b,) bool."""


class Node(NamedTuple):
    """A point of a path, to lead on from."""

    C: float
    T: np.ndarray
    """(b, d + 1, j)."""
    margins: np.ndarray
    """(n, b, classes)."""


def path(
    rows: Rows,
    spectrum: Spectrum,
    Cs: Sequence[float],
    tol: float,
    max_iter: int,
) -> Iterator[Solution]:
    """Yield the optimum at each of `Cs`, which rise strictly.

    Args:
        rows: The problems.
        spectrum: Of these rows, or of such as are like them.
        Cs: The penalties.
        tol: A problem is done when the next step would gain less than this share of f, as far as
            the pairs tell.
        max_iter: Most gradients of one problem at one penalty.
    """
    metric = Metric(rows.shape, rows.X.dtype)
    known: list[Node] = []
    for C, wanted in _without_gaps(Cs, 1 / float(rows.weights.sum(axis=0).max())):
        start = _extrapolate(rows, known, C) if known else np.zeros(rows.shape)
        solution, margins = minimize(
            rows, spectrum, metric, start, C, tol if wanted else max(tol, ROUGH), max_iter
        )
        if wanted:
            yield solution
        known = [*known[-2:], Node(C, solution.T, margins)]


def _without_gaps(Cs: Sequence[float], first: float) -> Iterator[tuple[float, bool]]:
    """Yield rising penalties, at most `STRIDE` apart, and whether they are of `Cs`.

    The path begins near `first` at most: from far away, the first guess and a few pairs tell little
    of the curvature at a weak penalty, and nothing that says when to end.
    """
    last = Cs[0]
    if Cs[0] > STRIDE * first:
        last = first
        yield last, False
    for C in Cs:
        count = int(np.ceil(np.log(C / last) / np.log(STRIDE) - 1e-9))
        for step in range(1, count):
            yield last * (C / last) ** (step / count), False
        yield C, True
        last = C


def minimize(
    rows: Rows,
    spectrum: Spectrum,
    metric: Metric,
    T: np.ndarray,
    C: float,
    tol: float,
    max_iter: int,
) -> tuple[Solution, np.ndarray]:
    """Minimize f from T; see `path`. What is learnt of the curvature is added to `metric`.

    Returns:
        The optimum, and the margins (n, b, classes) there.
    """
    margins = rows.margins(T)
    now = losses(margins, rows.codes, rows.weights)
    G = rows.gradient(now.R)
    guess = FirstGuess.of(spectrum, now.P, rows.weights, C)
    metric.move(C, guess, now.doubt)
    iterations = np.ones(len(T), int)
    while True:
        f = now.total + _penalty(T, C)
        whole = G.copy()
        whole[:, :-1] += T[:, :-1] / C
        direction = -metric(whole)
        slope = _dot(whole, direction)
        going = -slope / 2 > tol * f
        if not (going & (iterations < max_iter)).any():
            return Solution(C, T, iterations, ~going), margins
        change = rows.margins(direction)
        line = _Line(rows, margins, change, T, direction, C)
        length, now = line.search(f, np.where(going, slope, 0))
        step = length[:, None, None] * direction
        T, margins = T + step, line.at(length)
        before, G = G, rows.gradient(now.R)
        metric.add(step, G - before, now.doubt)
        iterations += going


@dataclass(frozen=True, eq=False)
class _Line:
    """f along a direction; margins are linear in T, so that no product with the rows is needed."""

    rows: Rows
    margins: np.ndarray
    """(n, b, classes) at T."""
    change: np.ndarray
    """(n, b, classes), of the direction."""
    T: np.ndarray
    direction: np.ndarray
    """(b, d + 1, j)."""
    C: float

    def at(self, length: np.ndarray) -> np.ndarray:
        """Return the margins at T + length (b,) * direction."""
        return self.margins + length[:, None].astype(self.change.dtype) * self.change

    def search(self, f: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, Losses]:
        """Return how far to go (b,), by Wolfe's conditions, and the losses there.

        Args:
            f: (b,) where it starts.
            slope: (b,) there, at most 0; a problem whose slope is 0 stays where it is.
        """
        flat = _dot(self.T[:, :-1], self.direction[:, :-1]) / self.C
        bent = 2 * _penalty(self.direction, self.C)
        noise = 4 * np.finfo(self.change.dtype).eps * f
        low, high = np.zeros_like(f), np.full_like(f, np.inf)
        length = (slope < 0).astype(np.float64)
        for _ in range(MAX_TRIALS):
            now = losses(self.at(length), self.rows.codes, self.rows.weights)
            value = now.total + _penalty(self.T, self.C) + length * flat + length**2 * bent / 2
            rising = np.einsum("nbk,nbk->b", now.R, self.change, dtype=np.float64)
            rising += flat + length * bent
            fell = value <= f + 1e-4 * length * slope + noise
            done = (slope == 0) | (fell & (np.abs(rising) <= -0.5 * slope))
            if done.all():
                break
            far = ~fell | (rising > 0)
            low, high = np.where(far, low, length), np.where(far, length, high)
            # Where the slope would be 0 if it changed evenly; else the middle, or twice as far.
            bend = np.where(slope < 0, np.minimum(slope - rising, 0.1 * slope), -1)
            guess = length * slope / bend
            middle = np.where(np.isfinite(high), (low + high) / 2, 2 * length)
            guess = np.where((guess > low) & (guess < high), guess, middle)
            length = np.where(done, length, guess)
        return length, now


def _extrapolate(rows: Rows, known: Sequence[Node], C: float) -> np.ndarray:
    """Return the best start (b, d + 1, j) at C: of degree 0, 1 or 2 in log C through what is known.

    Margins are as linear as T: trying a degree costs no product with the rows.
    """
    starts, values = [], []
    for degree in range(len(known)):
        nodes = known[-degree - 1 :]
        shares = _lagrange(np.log([node.C for node in nodes]), np.log(C))
        T = sum(share * node.T for share, node in zip(shares, nodes, strict=True))
        margins = sum(
            np.asarray(share, node.margins.dtype) * node.margins
            for share, node in zip(shares, nodes, strict=True)
        )
        starts.append(T)
        values.append(losses(margins, rows.codes, rows.weights).total + _penalty(T, C))
    best = np.argmin(values, axis=0)
    return np.stack([starts[k][b] for b, k in enumerate(best)])


def _lagrange(nodes: np.ndarray, x: float) -> np.ndarray:
    """Return (k,): weights of the values at `nodes` (k,) in their interpolation at x."""
    ratios = (x - nodes) / (nodes[:, None] - nodes + np.eye(len(nodes)))
    np.fill_diagonal(ratios, 1)
    return ratios.prod(axis=1)
