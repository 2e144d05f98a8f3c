"""Features in two dimensions, for a map: principal components, and t-SNE of them."""

from __future__ import annotations

import numpy as np

COMPONENTS = 50
"""Principal components that t-SNE works on, as its authors did."""
PERPLEXITY = 30.0
FEWEST = 5
"""Rows below which there is nothing for t-SNE to arrange."""


def project(X: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return places (n, 2) float64 in 0..1: "PCA" and, for enough rows, "t-SNE".

    Source of t-SNE: van der Maaten and Hinton, JMLR 9, 2008, in scikit-learn. It runs in one
    thread: 2000 rows take 7 to 12 s in one, and in two 5 s on an idle machine but up to 47 s beside
    other work, because OpenMP's threads spin while they wait for each other at every step.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not np.ptp(X, axis=0).any():  # alike, so no direction says more than another
        return {"PCA": np.zeros((len(X), 2))}
    count = min(COMPONENTS, *X.shape)
    components = PCA(count, svd_solver="randomized", random_state=seed).fit_transform(X)
    flat = np.zeros((len(X), 2))
    flat[:, : min(count, 2)] = components[:, :2]
    places = {"PCA": flat}
    if len(X) >= FEWEST:
        perplexity = min(PERPLEXITY, (len(X) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
        with threadpool_limits(1):
            places["t-SNE"] = tsne.fit_transform(components).astype(np.float64)
    return {name: _unit_square(place) for name, place in places.items()}


def _unit_square(place: np.ndarray) -> np.ndarray:
    """Return places moved into 0..1, the same scale for both axes."""
    place = place - place.min(axis=0)
    return place / max(place.max(), np.finfo(float).tiny)
