"""The map of a report: places in a square, whatever else the machine does."""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_info, threadpool_limits

from heads.projection import project

X = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)


def test_places_fill_a_square():
    places = project(X)

    assert places.keys() == {"PCA", "t-SNE"}
    for place in places.values():
        assert place.shape == (40, 2)
        assert (place.min(), place.max()) == (0, 1)


def test_few_rows_or_rows_alike_have_no_neighbors_to_arrange():
    assert project(X[:4]).keys() == project(np.ones((9, 3), np.float32)).keys() == {"PCA"}


def test_neighbors_are_arranged_in_one_thread(monkeypatch):
    """Threads that wait for each other at every step take ten times as long beside other work."""
    seen = []
    real = TSNE.fit_transform

    def fit_transform(self, rows):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return real(self, rows)

    monkeypatch.setattr(TSNE, "fit_transform", fit_transform)
    with threadpool_limits(2):
        project(X)

    assert set(seen) == {1}
