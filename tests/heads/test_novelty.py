"""Novelty is a quantile of distances to the nearest class mean, in units of each feature."""

from dataclasses import dataclass

import numpy as np
import pytest

from heads.novelty import Novelty


@dataclass
class Block:
    X: np.ndarray
    y: np.ndarray


def blobs(seed, n=400, shift=1000.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    centers = np.eye(3, 6) * 8 + shift
    spread = np.array([1, 2, 3, 1, 1, 0])
    return (centers[codes] + spread * rng.normal(size=(n, 6))).astype(np.float32), codes


def blocks(X, y, size):
    return lambda: (Block(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size))


@pytest.fixture(scope="module")
def fitted():
    X, y = blobs(0)
    held_out = blobs(1)
    return Novelty.fit(blocks(X, y, 400), 3, blocks(*held_out, 400)), X, y


def test_means_and_scale_are_those_of_the_rows(fitted):
    novelty, X, y = fitted
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1)

    np.testing.assert_allclose(novelty.scale, scale, rtol=1e-3)
    means = np.stack([X[y == code].mean(axis=0) for code in range(3)])
    found = novelty.center + novelty.means * novelty.scale
    np.testing.assert_allclose(found, means, rtol=1e-5)


def test_blocks_do_not_matter(fitted):
    novelty, X, y = fitted
    again = Novelty.fit(blocks(X, y, 7), 3, blocks(*blobs(1), 11))

    np.testing.assert_allclose(again.quantiles, novelty.quantiles, rtol=1e-4)


def test_held_out_rows_are_spread_evenly_and_strangers_stand_out(fitted):
    novelty, X, _ = fitted
    usual = novelty(blobs(2)[0])

    assert abs(np.mean(usual) - 0.5) < 0.05
    assert novelty(X[:5] + 50).tolist() == [1.0] * 5
    assert ((usual >= 0) & (usual <= 1)).all()


def test_arrays_are_all_there_is(fitted):
    novelty, X, _ = fitted
    again = Novelty.from_arrays(novelty.arrays())

    np.testing.assert_array_equal(again(X), novelty(X))
