"""Which images are nearly the same, from their features alone, among many.

Features less their mean, made unit vectors, are compared by their dot product. Comparing all
pairs in full width is what takes long, so pairs are thrown out in few dimensions first: for unit
vectors u·v = 1 - |u - v|² / 2, and a rotation followed by leaving dimensions out only ever shortens
a distance. What is left is compared in full, and no pair is ever missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIMILARITY = 0.82
"""Default least similarity. Measured with MobileNetV2 on photographs: of copies saved as JPEG of
quality 50, mirrored, or cropped by 5 %, 95 % are above; of 4.5 million pairs of different pictures
two are."""
STEPS = (64, 256)
"""Dimensions in which pairs are thrown out before they are compared in full."""
SAMPLE = 20_000
"""Rows that tell which dimensions have most of the differences."""
BLOCK = 2**24
"""Pairs that are looked at in few dimensions at once: 64 MiB of them."""
PAIRS = 2**16
"""Pairs that are compared at once."""
ROUNDING = 1e-5
"""How far float32 may put a similarity off."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows that are nearly the same, the likest first."""

    first: np.ndarray
    """(p,) int64."""
    second: np.ndarray
    """(p,) int64, above `first`."""
    similarity: np.ndarray
    """(p,) float32, at most 1."""

    def __len__(self) -> int:
        return len(self.first)

    def clusters(self, rows: int) -> np.ndarray:
        """Return (rows,) int64: rows that pairs lead to one another have the same number."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        edges = (np.ones(len(self), np.int8), (self.first, self.second))
        return connected_components(coo_array(edges, shape=(rows, rows)), directed=False)[1].astype(
            np.int64
        )


def near_pairs(X: np.ndarray, similarity: float = SIMILARITY) -> Pairs:
    """Find all pairs of rows at least so similar.

    Args:
        X: (n, d) features.
        similarity: Cosine of the angle between features less their mean, up to 1.

    Returns:
        Every such pair, once. A row that does not differ from the mean is like no other.
    """
    U = _unit(X)
    rotated = [U @ axes.astype(U.dtype) for axes in _leading(U)]
    parts = [np.empty((0, 2), np.int64)]
    for pairs in _candidates(rotated[0] if rotated else U, similarity - ROUNDING):
        for Z in rotated[1:]:
            pairs = pairs[_bound(Z, pairs) >= similarity - ROUNDING]
        parts.append(pairs)
    pairs = np.concatenate(parts)
    found = _dots(U, pairs)
    pairs, found = pairs[found >= similarity], np.minimum(found[found >= similarity], 1)
    order = np.lexsort((*pairs.T[::-1], -found))
    first, second = pairs[order].T
    return Pairs(first, second, found[order])


def _unit(X: np.ndarray) -> np.ndarray:
    """Return rows less their mean, of length 1; rows of length 0 stay."""
    U = np.asarray(X, np.float32) - X.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", U, U))
    U /= np.where(length > 0, length, 1)[:, None]
    return U


def _leading(U: np.ndarray) -> list[np.ndarray]:
    """Return orthonormal axes (d, k) with most of the differences, for each k of `STEPS`."""
    wanted = [k for k in STEPS if k < U.shape[1]]
    if not wanted:
        return []
    some = U[np.linspace(0, len(U) - 1, min(len(U), SAMPLE)).astype(int)]
    _, axes = np.linalg.eigh((some.T @ some).astype(np.float64))
    return [np.ascontiguousarray(axes[:, ::-1][:, :k]) for k in wanted]


def _candidates(Z: np.ndarray, least: float) -> Iterator[np.ndarray]:
    """Yield pairs (p, 2) that may be so similar, told from Z (n, k) alone.

    1 - |a - b|² / 2 = a·b + (1 - |a|²) / 2 + (1 - |b|²) / 2: a product with two columns more.
    """
    rest = (1 - np.einsum("nd,nd->n", Z, Z)) / 2
    ones = np.ones_like(rest)
    left, right = np.column_stack([Z, ones, rest]), np.column_stack([Z, rest, ones])
    rows = max(1, BLOCK // max(len(Z), 1))
    buffer = np.empty(rows * len(Z), Z.dtype)
    for start in range(0, len(Z), rows):
        here, others = left[start : start + rows], right[start:]
        most = buffer[: len(here) * len(others)].reshape(len(here), len(others))
        np.matmul(here, others.T, out=most)
        i, j = np.divmod(np.flatnonzero(most >= least), len(others))
        yield np.column_stack([i, j])[j > i] + start


def _bound(Z: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (p,) the most that pairs can be similar, told from Z (n, k)."""
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS):
        i, j = pairs[start : start + PAIRS].T
        between = Z[i] - Z[j]
        out[start : start + PAIRS] = 1 - np.einsum("pd,pd->p", between, between) / 2
    return out


def _dots(U: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (p,) the similarity of pairs of U (n, d)."""
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS):
        i, j = pairs[start : start + PAIRS].T
        out[start : start + PAIRS] = np.einsum("pd,pd->p", U[i], U[j])
    return out
