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
PAIRS = 2**13
"""Pairs that are compared at once."""
ROWS = 4096
"""Rows that are made unit vectors at once."""
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
    units = _Units(X)
    rotated = _rotated(units)
    parts = [np.empty((0, 2), np.int64)]
    for pairs in _candidates(rotated[0], similarity - ROUNDING):
        for Z in rotated[1:]:
            pairs = pairs[_bound(Z, pairs) >= similarity - ROUNDING]
        parts.append(pairs)
    pairs = np.concatenate(parts)
    found = _dots(units, pairs)
    pairs, found = pairs[found >= similarity], np.minimum(found[found >= similarity], 1)
    order = np.lexsort((*pairs.T[::-1], -found))
    first, second = pairs[order].T
    return Pairs(first, second, found[order])


class _Units:
    """Rows less their mean, of length 1, made when they are asked for: X may fill the memory."""

    def __init__(self, X: np.ndarray) -> None:
        self._X = X
        self._mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.width = X.shape[1]

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return some rows (m, d) float32; rows of length 0 stay."""
        U = self._X[rows].astype(np.float32) - self._mean
        length = np.sqrt(np.einsum("nd,nd->n", U, U))
        U /= np.where(length > 0, length, 1)[:, None]
        return U


def _rotated(units: _Units) -> list[np.ndarray]:
    """Return rows (n, k) in the k dimensions with most of the differences, for each of `STEPS`.

    Where there are no more dimensions than the least of these, the rows themselves.
    """
    wanted = [k for k in STEPS if k < units.width]
    axes = [np.eye(units.width, dtype=np.float32)]
    if wanted:
        some = units[np.linspace(0, len(units) - 1, min(len(units), SAMPLE)).astype(int)]
        _, vectors = np.linalg.eigh((some.T @ some).astype(np.float64))
        axes = [np.ascontiguousarray(vectors[:, ::-1][:, :k], np.float32) for k in wanted]
    found = [np.empty((len(units), each.shape[1]), np.float32) for each in axes]
    for start in range(0, len(units), ROWS):
        here = slice(start, start + ROWS)
        rows = units[here]
        for Z, each in zip(found, axes, strict=True):
            Z[here] = rows @ each
    return found


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


def _dots(units: _Units, pairs: np.ndarray) -> np.ndarray:
    """Return (p,) the similarity of pairs, in full width."""
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS):
        i, j = pairs[start : start + PAIRS].T
        out[start : start + PAIRS] = np.einsum("pd,pd->p", units[i], units[j])
    return out
