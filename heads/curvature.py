"""What is known of the curvature of a logistic regression: the inverse Hessian of L-BFGS.

The first guess is the inverse of A ⊗ R + I / C, where R is the correlation matrix of the features,
decomposed once, and A (classes, classes) the sum over the rows of w (diag(p) - p p').
It is the bound of Böhning (1992), H <= ½ (I - 11'/c) ⊗ Z'Z + I / C, with the probabilities of now
in place of the ½. Pairs of a step and what it changed of the gradient correct it. Along a path of
penalties the Hessian of the losses hardly changes but in size, so pairs are rescaled and kept.

Arrays of several problems have them first: (b, d + 1, j), the intercept last. j is 1 for two
classes, else one per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

MAX_RANK = 4096
"""Most eigenvectors of R that are computed."""
MIN_PAIRS, MAX_PAIRS = 10, 100
"""Pairs of L-BFGS that are kept: as many as `MAX_NUMBERS` allow."""
MAX_NUMBERS = 2**25
"""Most numbers in the steps that are kept, 128 MiB of float32; changes take twice that."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Correlation matrix of the features: V diag(values) V' + rest * (I - V V')."""

    V: np.ndarray
    """(d, r), in the dtype of the rows."""
    values: np.ndarray
    """(r,) float64."""
    rest: float

    @classmethod
    def of(cls, X: np.ndarray, weights: np.ndarray) -> Spectrum:
        """Decompose that of standardized rows X (n, d) with weights (n,)."""
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
class FirstGuess:
    """The inverse of A ⊗ R + I / C for each problem."""

    V: np.ndarray
    """(d, r)."""
    U: np.ndarray
    """(b, j, j): eigenvectors of A."""
    within: np.ndarray
    """(b, r, j): what directions in V are multiplied by."""
    beside: np.ndarray
    """(b, 1, j): what all others are multiplied by."""
    intercept: np.ndarray
    """(b, 1, j)."""

    @classmethod
    def of(cls, spectrum: Spectrum, P: np.ndarray, weights: np.ndarray, C: float) -> FirstGuess:
        """Build it from probabilities P (n, b, classes) and weights (n, b)."""
        p = P.transpose(1, 2, 0)  # (b, classes, n)
        A = -np.matmul(p * weights.T[:, None].astype(P.dtype), p.transpose(0, 2, 1))
        A = A.astype(np.float64)
        # The diagonal is minus the rest of the row: 1 - p would be lost where p is nearly 1.
        diagonal = np.arange(A.shape[1])
        A[:, diagonal, diagonal] = 0
        A[:, diagonal, diagonal] = -A.sum(axis=2)
        if len(diagonal) == 2:
            a, U = A[:, 1:, 1], np.ones((len(A), 1, 1))
        else:
            a, U = np.linalg.eigh(A)
            a[:, 0] = 0  # what is the same for all classes changes nothing
        a = np.maximum(a, 0)[:, None]
        some = a > 1e-12 * a.max(axis=2, keepdims=True)
        return cls(
            V=spectrum.V,
            U=U.astype(P.dtype),
            within=(1 / (spectrum.values[:, None] * a + 1 / C)).astype(P.dtype),
            beside=(1 / (spectrum.rest * a + 1 / C)).astype(P.dtype),
            intercept=np.divide(1, a, out=np.zeros_like(a), where=some).astype(P.dtype),
        )

    def __call__(self, G: np.ndarray) -> np.ndarray:
        """Apply to G (b, d + 1, j), in the dtype of the rows."""
        G = G @ self.U
        slopes = G[:, :-1]
        if self.V.shape[0] == self.V.shape[1]:
            slopes = self._between(slopes, self.within)
        else:
            slopes = self._between(slopes, self.within - self.beside) + self.beside * slopes
        out = np.concatenate([slopes, G[:, -1:] * self.intercept], axis=1)
        return out @ self.U.transpose(0, 2, 1)

    def _between(self, slopes: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return V (factor * V' slopes), in two products for all problems."""
        b, d, j = slopes.shape
        flat = self.V.T @ slopes.transpose(1, 0, 2).reshape(d, -1)
        flat = flat.reshape(-1, b, j) * factor.transpose(1, 0, 2)
        flat = self.V @ flat.reshape(-1, b * j)
        return flat.reshape(d, b, j).transpose(1, 0, 2)


class Metric:
    """The inverse Hessian as L-BFGS knows it: a first guess, and pairs of what steps changed.

    With s_i the steps and y_i the changes of the gradient, oldest first, and M_ij = s_i'y_j, the
    two loops of Nocedal (1980) for H g are two triangular systems: triu(M) a = S g,
    r = H_0 (g - Y'a), triu(M)' c = diag(M) a - Y r, and H g = r + S'c. A step of 0 says nothing.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        problems, *rest = shape
        size = int(np.prod(rest))
        slots = max(MIN_PAIRS, min(MAX_PAIRS, MAX_NUMBERS // (problems * size)))
        self._shape = shape
        self._S, self._losses, self._Y = np.zeros((3, problems, slots, size), dtype)
        self._doubt = np.ones((problems, slots))
        self._M = np.zeros((problems, slots, slots))
        self._order: list[int] = []
        """Slots, the oldest first."""

    def move(self, C: float, guess: FirstGuess, doubt: np.ndarray) -> None:
        """Go to another penalty, from where the doubt of `Losses` is `doubt` (b,).

        Along a path the Hessian of the losses hardly changes but in size: changes are rescaled.
        """
        self._C, self._guess = C, guess
        known = self._doubt > 0
        factor = np.divide(doubt[:, None], self._doubt, out=np.ones_like(self._doubt), where=known)
        factor = factor.astype(self._S.dtype)
        np.multiply(self._losses, factor[:, :, None], out=self._Y)
        self._Y += self._slopes(self._S) / C
        self._M = (self._S @ self._Y.transpose(0, 2, 1)).astype(np.float64)

    def add(self, step: np.ndarray, change: np.ndarray, doubt: np.ndarray) -> None:
        """Take a pair into account, in place of the oldest one where there is no room.

        Args:
            step: (b, d + 1, j), all 0 where a problem did not move.
            change: (b, d + 1, j), of the gradient of the losses, without the penalty.
            doubt: (b,) where the step ended.
        """
        full = len(self._order) == self._S.shape[1]
        slot = self._order.pop(0) if full else len(self._order)
        self._order.append(slot)
        self._S[:, slot] = step.reshape(len(step), -1)
        self._losses[:, slot] = change.reshape(len(step), -1)
        self._Y[:, slot] = self._losses[:, slot] + self._slopes(self._S[:, slot]) / self._C
        self._doubt[:, slot] = doubt
        self._M[:, slot] = (self._Y @ self._S[:, slot, :, None])[:, :, 0]
        self._M[:, :, slot] = (self._S @ self._Y[:, slot, :, None])[:, :, 0]

    def _slopes(self, steps: np.ndarray) -> np.ndarray:
        """Return (b, ..., size) with the intercepts, which have no penalty, set to 0."""
        steps = steps.copy()
        steps[..., -self._shape[2] :] = 0
        return steps

    def __call__(self, G: np.ndarray) -> np.ndarray:
        """Apply to G (b, d + 1, j); returns float64."""
        g = G.reshape(len(G), -1).astype(self._S.dtype)
        a, scaled = self._solve((self._S @ g[:, :, None])[:, :, 0], transposed=False)
        g -= (a[:, None] @ self._Y)[:, 0]
        r = self._guess(g.reshape(G.shape)).reshape(g.shape)
        c, _ = self._solve(scaled - (self._Y @ r[:, :, None])[:, :, 0], transposed=True)
        r += (c[:, None] @ self._S)[:, 0]
        return r.reshape(G.shape).astype(np.float64)

    def _solve(self, right: np.ndarray, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
        """Solve with the triangle; returns the solution (b, slots), and diag(M) times it."""
        out = np.zeros_like(right)
        scaled = np.zeros_like(right)
        order = self._order
        for b in range(len(right) if order else 0):
            M = self._M[b][np.ix_(order, order)]
            diagonal = M.diagonal().copy()
            moved = diagonal > 0
            np.fill_diagonal(M, np.where(moved, diagonal, np.inf))
            x = scipy.linalg.solve_triangular(
                M, right[b, order], trans="T" if transposed else "N", check_finite=False
            )
            out[b, order] = x
            scaled[b, order] = np.where(moved, diagonal * x, 0)
        return out, scaled
