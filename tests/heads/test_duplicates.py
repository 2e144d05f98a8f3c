"""No pair is missed, whatever is thrown out early."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads import duplicates
from heads.duplicates import near_pairs


def brute(X, similarity):
    """Return every pair by comparing all in full, in float64."""
    U = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(U, axis=1, keepdims=True)
    U /= np.where(length > 0, length, 1)
    similar = np.triu(U @ U.T, 1)
    return {tuple(pair) for pair in np.argwhere(similar >= similarity)}, similar


def rows(seed, count, width):
    """Rows of which some are others with noise, from none to as much as they differ."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, width)) * (1 + np.arange(width)) ** -0.5
    half = count // 2
    X[half:] = X[:half][: count - half] if count - half <= half else X[half:]
    X[half:] += rng.uniform(0, 1, (count - half, 1)) * rng.normal(size=(count - half, width)) * 0.3
    return X.astype(np.float32)


@given(seed=st.integers(0, 2**31), count=st.integers(2, 60), width=st.integers(1, 30))
@pytest.mark.parametrize("steps", [(), (2,), (1, 4)])
def test_every_pair_is_found_and_no_other(steps, seed, count, width):
    X = rows(seed, count, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "STEPS", steps)
        patch.setattr(duplicates, "BLOCK", 7 * count)
        patch.setattr(duplicates, "PAIRS", 5)
        found = near_pairs(X, 0.8)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    wanted, similar = brute(X, 0.8)
    doubtful = {pair for pair in pairs ^ wanted if abs(similar[pair] - 0.8) > 1e-5}

    assert doubtful == set()
    assert len(pairs) == len(found)
    assert (np.diff(found.similarity) <= 0).all()


def test_rows_at_the_mean_are_like_no_other():
    assert len(near_pairs(np.ones((5, 3), np.float32))) == 0


def test_pairs_lead_to_clusters():
    X = rows(3, 4, 8)[[0, 1, 0, 3, 0]]
    clusters = near_pairs(X, 0.999).clusters(5)

    assert clusters[0] == clusters[2] == clusters[4]
    assert len(set(clusters.tolist())) == 3
