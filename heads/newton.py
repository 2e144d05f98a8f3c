"""Logistic regression at many penalties and on several folds, by Newton's method.

With Z the standardized rows of a fold, w their weights and W, b what is learnt, the objective is
scikit-learn's (for two classes W is one column, the logit of the second class):

    f(W, b) = sum_i w_i * -log softmax(z_i W + b)[y_i]  +  |W|² / (2 C)

A Newton step needs x with H x = -gradient. H is never formed: conjugate gradients multiply by it,
two products with the rows each time. They are preconditioned by A ⊗ R + I / C, where R is the
correlation matrix of the features, decomposed once for everything, and A (classes, classes) the
mean over the rows of diag(p) - p p', which is small and decomposed at every step. It is the bound
of Böhning (1992), H ≤ ½ (I - 11'/c) ⊗ Z'Z + I / C, with the weights of now in place of the ½.

What makes it quick:

- folds are nearly the same problem, so they take their steps together: one product of the rows
  with all their directions costs little more than one with the directions of a single fold;
- W is close to a parabola in log C, so the path is extrapolated to start at the next penalty;
- rows whose class is hardly in doubt have no part in the curvature, and are left out of it (never
  out of the gradient, nor out of the objective).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.linalg

BLOCK = 1024
"""Rows of which moments are taken at once."""
MAX_RANK = 4096
"""Most eigenvectors of the preconditioner: O(n d MAX_RANK) to make."""
DOUBT = 0.05
"""Share of all curvature that the rows which are left out of it may have together."""
FORCING = 0.25
"""Conjugate gradients end when their last gain, times their number, is this share of all gains."""
MAX_PRODUCTS = 200
"""Most products with the Hessian in one Newton step."""
MAX_HALVINGS = 30


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
    """Rows of one or several problems that share them; T is (d + 1, b, j), the intercept last."""

    X: np.ndarray
    """(n, d), roughly standardized; its dtype is that of the products."""
    codes: np.ndarray
    """(n,) the class of each row."""
    weights: np.ndarray
    """(n, b) float64; 0 where a row is not in a problem."""
    center: np.ndarray
    """(d, b, 1) float64: mean of each column of X over the rows of a problem."""
    scale: np.ndarray
    """(d, b, 1) float64: its standard deviation."""
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of T; j is 1 for two classes, else one per class."""
        width, problems, _ = self.center.shape
        return width + 1, problems, 1 if self.classes == 2 else self.classes

    def only(self, problems: np.ndarray) -> Rows:
        """Return some of the problems; `problems` is a mask or indices."""
        return replace(
            self,
            weights=self.weights[:, problems],
            center=self.center[:, problems],
            scale=self.scale[:, problems],
        )

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows; `rows` is a mask (n,)."""
        return replace(self, X=self.X[rows], codes=self.codes[rows], weights=self.weights[rows])

    def margins(self, T: np.ndarray) -> np.ndarray:
        """Return (n, b, classes): logits less the logit of the row's own class.

        What a small loss hangs on is the difference of large logits: it is taken once, here.
        """
        slopes = T[:-1] / self.scale
        offset = T[-1] - (self.center * slopes).sum(axis=0)
        flat = self.X @ slopes.reshape(len(slopes), -1).astype(self.X.dtype)
        logits = flat.reshape(-1, *offset.shape)
        logits += offset.astype(flat.dtype)
        if self.classes == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
        return logits - np.take_along_axis(logits, self.codes[:, None, None], axis=2)

    def gradient(self, R: np.ndarray) -> np.ndarray:
        """Return (d + 1, b, j): sums over the rows of z_i times R (n, b, classes)."""
        if self.classes == 2:
            R = R[:, :, 1:]
        flat = self.X.T @ np.ascontiguousarray(R).reshape(len(R), -1)
        sums = R.sum(axis=0, dtype=np.float64)
        slopes = (flat.reshape(-1, *sums.shape) - self.center * sums) / self.scale
        return np.concatenate([slopes, sums[None]])

    def curvature(self, T: np.ndarray, P: np.ndarray) -> np.ndarray:
        """Return the Hessian of the losses times T, at probabilities P (n, b, classes)."""
        change = self.margins(T)
        change -= np.einsum("nbk,nbk->nb", P, change)[:, :, None]
        change *= P
        change *= self.weights[:, :, None].astype(P.dtype)
        return self.gradient(change)


class Losses(NamedTuple):
    """Losses at some margins."""

    total: np.ndarray
    """(b,) float64: weighted sum of -log p[own class]."""
    P: np.ndarray
    """(n, b, classes): probabilities."""
    R: np.ndarray
    """(n, b, classes): weights times (p - 1 for the own class, p for others)."""


def losses(margins: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Losses:
    """Evaluate margins (n, b, classes); exact to the last digits where p[own] is nearly 1."""
    own = codes[:, None, None]
    top = margins.max(axis=2, keepdims=True)  # >= 0, since the own margin is 0
    E = np.exp(margins - top)
    self_ = np.exp(-top)
    np.put_along_axis(E, own, 0, axis=2)
    others = E.sum(axis=2, keepdims=True)
    loss = top + np.log1p(others + np.expm1(-top))
    E /= self_ + others
    P, R = E, E.copy()
    np.put_along_axis(R, own, -others / (self_ + others), axis=2)
    np.put_along_axis(P, own, self_ / (self_ + others), axis=2)
    R *= weights[:, :, None].astype(R.dtype)
    return Losses(np.einsum("nb,nb->b", loss[:, :, 0], weights), P, R)


def log_losses(margins: np.ndarray) -> np.ndarray:
    """Return -log p[own class] (n, b) of margins (n, b, classes)."""
    top = margins.max(axis=2)
    return top + np.log(np.exp(margins - top[:, :, None]).sum(axis=2))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Correlation matrix of the features: V diag(values) V' + rest * (I - V V')."""

    V: np.ndarray
    """(d, r), in the dtype of the rows."""
    values: np.ndarray
    """(r,) float64."""
    rest: float

    @classmethod
    def of(cls, rows: Rows) -> Spectrum:
        """Decompose; the rows of all problems together stand for each."""
        weights = rows.weights.sum(axis=1)
        X = rows.X
        if np.ptp(weights) > 0:
            X = X * np.sqrt(weights / weights.mean())[:, None].astype(X.dtype)
        if min(X.shape) > MAX_RANK:  # it only preconditions: evenly spaced rows will do
            X = X[np.linspace(0, len(X) - 1, MAX_RANK).astype(int)]
        tall = len(X) >= X.shape[1]
        values, V = scipy.linalg.eigh(
            X.T @ X if tall else X @ X.T, driver="evd", overwrite_a=True, check_finite=False
        )
        keep = values > len(X) * np.finfo(X.dtype).eps * max(values[-1], 1)
        values, V = values[keep], V[:, keep]
        if not tall:
            V = X.T @ (V / np.sqrt(values))
        total = np.einsum("nd,nd->", X, X, dtype=np.float64)
        missing = X.shape[1] - len(values)
        rest = max(float(total - values.sum()), 0) / missing if missing else 0.0
        return cls(np.ascontiguousarray(V), values.astype(np.float64) / len(X), rest / len(X))


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """The inverse of A ⊗ R + I / C for each problem."""

    V: np.ndarray
    """(d, r)."""
    U: np.ndarray
    """(b, j, j): eigenvectors of A."""
    within: np.ndarray
    """(r, b, j): what directions in V are multiplied by."""
    beside: np.ndarray
    """(b, j): what all others are multiplied by."""
    intercept: np.ndarray
    """(b, j)."""

    @classmethod
    def of(cls, spectrum: Spectrum, P: np.ndarray, weights: np.ndarray, C: float) -> Preconditioner:
        """Build it from probabilities P (n, b, classes) and weights (n, b)."""
        p = P.transpose(1, 2, 0)  # (b, classes, n)
        A = -np.matmul(p * weights.T[:, None, :].astype(P.dtype), p.transpose(0, 2, 1))
        A = A.astype(np.float64)
        # The diagonal is minus the rest of the row: 1 - p would be lost where p is nearly 1.
        diagonal = np.arange(A.shape[1])
        A[:, diagonal, diagonal] = 0
        A[:, diagonal, diagonal] = -A.sum(axis=2)
        if A.shape[1] == 2:
            a, U = A[:, 1:, 1], np.ones((len(A), 1, 1))
        else:
            a, U = np.linalg.eigh(A)
            a[:, 0] = 0  # the same for all classes changes nothing
        a = np.maximum(a, 0)
        invertible = a > 1e-12 * a[:, -1:]
        return cls(
            V=spectrum.V,
            U=U,
            within=1 / (spectrum.values[:, None, None] * a + 1 / C),
            beside=1 / (spectrum.rest * a + 1 / C),
            intercept=np.divide(1, a, out=np.zeros_like(a), where=invertible),
        )

    def only(self, problems: np.ndarray) -> Preconditioner:
        """Return some of the problems."""
        return Preconditioner(
            self.V,
            self.U[problems],
            self.within[:, problems],
            self.beside[problems],
            self.intercept[problems],
        )

    def __call__(self, G: np.ndarray) -> np.ndarray:
        """Apply to G (d + 1, b, j)."""
        G = np.einsum("dbj,bjk->dbk", G, self.U)
        flat = G[:-1].reshape(len(G) - 1, -1).astype(self.V.dtype)
        whole = self.V.shape[0] == self.V.shape[1]
        beside = np.zeros_like(self.beside) if whole else self.beside
        factor = self.within - beside
        rotated = (self.V.T @ flat).reshape(factor.shape) * factor
        flat = self.V @ rotated.reshape(len(rotated), -1).astype(self.V.dtype)
        slopes = flat.reshape(G[:-1].shape) + beside * G[:-1]
        out = np.concatenate([slopes, (G[-1] * self.intercept)[None]])
        return np.einsum("dbk,bjk->dbj", out, self.U)


def _dot(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    return np.einsum("dbj,dbj->b", A, B)


def _penalty(T: np.ndarray, C: float) -> np.ndarray:
    return _dot(T[:-1], T[:-1]) / (2 * C)


class Step(NamedTuple):
    """A Newton step, as far as conjugate gradients went."""

    T: np.ndarray
    """(d + 1, b, j): where to go."""
    gain: np.ndarray
    """(b,): by how much the quadratic model falls."""
    left: np.ndarray
    """(b,): by how much it might fall further."""


def newton_step(
    rows: Rows, spectrum: Spectrum, P: np.ndarray, G: np.ndarray, C: float, enough: np.ndarray
) -> Step:
    """Solve H x = -G for all problems together.

    The k-th of the gains, which fall, times k stands for all that is left (Nash and Sofer, 1990):
    a problem ends when that is below `FORCING` of its gains or below `enough` (b,).
    """
    pre = Preconditioner.of(spectrum, P, rows.weights, C)
    doubt = rows.weights * (P * (1 - P)).sum(axis=2)
    active = (doubt >= DOUBT * doubt.mean(axis=0)).any(axis=1)
    if active.mean() < 0.8:
        rows, P = rows.take(active), P[active]
    step = Step(np.zeros_like(G), np.zeros(G.shape[1]), np.zeros(G.shape[1]))
    live = np.arange(G.shape[1])
    residual = -G
    direction = toward = pre(residual)
    size = _dot(residual, toward)
    for count in range(1, MAX_PRODUCTS + 1):
        HD = rows.curvature(direction, P)
        HD[:-1] += direction[:-1] / C
        curved = _dot(direction, HD)
        length = np.divide(size, curved, out=np.zeros_like(size), where=curved > 0)
        step.T[:, live] += length[:, None] * direction
        gain = length * size / 2
        step.gain[live] += gain
        step.left[live] = count * gain
        go = step.left[live] > np.maximum(FORCING * step.gain[live], enough[live])
        if not go.any():
            break
        residual = residual - length[:, None] * HD
        if not go.all():
            live, rows, P, pre = live[go], rows.only(go), P[:, go], pre.only(go)
            residual, direction, size = residual[:, go], direction[:, go], size[go]
        toward = pre(residual)
        before, size = size, _dot(residual, toward)
        direction = toward + (size / before)[:, None] * direction
    return step


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of each problem at one penalty."""

    C: float
    T: np.ndarray
    """(d + 1, b, j)."""
    margins: np.ndarray
    """(n, b, classes)."""
    iterations: np.ndarray
    """(b,) Newton steps, at least 1."""
    converged: np.ndarray
    """(b,) bool."""


def minimize(
    rows: Rows, spectrum: Spectrum, start: np.ndarray, C: float, tol: float, max_iter: int
) -> Solution:
    """Minimize f from T = `start`, until what is left to gain is about `tol` of f or less.

    After a step, that is what conjugate gradients left of the quadratic model, and at most the
    error of the model itself: the difference between what it promised and what came.
    """
    T, margins = start.copy(), rows.margins(start)
    iterations = np.zeros(T.shape[1], int)
    live = np.arange(T.shape[1])
    while live.size and iterations.max() < max_iter:
        part = rows.only(live)
        T[:, live], margins[:, live], done = _iterate(
            part, spectrum, T[:, live], margins[:, live], C, tol
        )
        iterations[live] += 1
        live = live[~done]
    return Solution(C, T, margins, iterations, ~np.isin(np.arange(T.shape[1]), live))


def _iterate(
    rows: Rows, spectrum: Spectrum, T: np.ndarray, margins: np.ndarray, C: float, tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take one Newton step; return T, margins and which problems are done."""
    now = losses(margins, rows.codes, rows.weights)
    f = now.total + _penalty(T, C)
    G = rows.gradient(now.R)
    G[:-1] += T[:-1] / C
    step = newton_step(rows, spectrum, now.P, G, C, tol * f / 2)
    change = rows.margins(step.T)
    length = np.ones(len(f))
    noise = 4 * np.finfo(rows.X.dtype).eps * f
    for _ in range(MAX_HALVINGS):
        new_T = T + length[:, None] * step.T
        new_margins = margins + (length[:, None] * np.ones(1)).astype(change.dtype) * change
        new = losses(new_margins, rows.codes, rows.weights).total + _penalty(new_T, C)
        short = new > f - 1e-4 * length * step.gain + noise
        if not short.any():
            break
        length[short] /= 2
    left = step.left + np.abs(f - new - step.gain)
    # The gain is a quadratic form, exact far below what a difference of objectives can show.
    floor = noise if rows.X.dtype == np.float32 else np.zeros_like(noise)
    end = step.gain <= np.maximum(tol * new, floor)
    return new_T, new_margins, ((length == 1) & (left <= tol * new)) | end


def path(
    rows: Rows, spectrum: Spectrum, Cs: Sequence[float], tol: float, max_iter: int
) -> Iterator[Solution]:
    """Yield the optimum at each of `Cs`, which rise strictly."""
    known: list[Solution] = []
    for C in Cs:
        start = _extrapolate(rows, known, C) if known else np.zeros(rows.shape)
        solution = minimize(rows, spectrum, start, C, tol, max_iter)
        yield solution
        known = [*known[-2:], solution]


def _extrapolate(rows: Rows, known: Sequence[Solution], C: float) -> np.ndarray:
    """Return the best start (d + 1, b, j) at C: of degree 0, 1 or 2 in log C through what is known.

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
    return np.stack([starts[k][:, b] for b, k in enumerate(best)], axis=1)


def _lagrange(nodes: np.ndarray, x: float) -> np.ndarray:
    """Return (k,): weights of the values at `nodes` (k,) in their interpolation at x."""
    ratios = (x - nodes) / (nodes[:, None] - nodes + np.eye(len(nodes)))
    np.fill_diagonal(ratios, 1)
    return ratios.prod(axis=1)
