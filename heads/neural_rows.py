"""Rows as Keras heads take them: their type, those that weigh something, their standardization."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from heads.aims import ROWS
from heads.epochs import Scaling
from heads.errors import HeadError


def dtype_of_backend(X: np.ndarray) -> str:
    """Return the type in which the Keras backend keeps an array: JAX has no float64 by default."""
    import keras

    return keras.backend.standardize_dtype(keras.ops.convert_to_tensor(X[:1]).dtype)


def present(
    X: np.ndarray, y: np.ndarray, sample_weight: Any, views: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return X, y, weights (n,) float64 and views, without the rows whose weight is 0."""
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if views is not None:
        views = np.asarray(views)
        if views.ndim != 3 or views.shape[1:] != X.shape or not len(views):
            raise HeadError(f"views are (K, {X.shape[0]}, {X.shape[1]}). Received: {views.shape}")
        flat = check_array(views.reshape(-1, X.shape[1]), dtype=X.dtype, input_name="views")
        views = flat.reshape(views.shape)
    if weights.all():
        return X, y, weights, views
    there = weights > 0
    return X[there], y[there], weights[there], None if views is None else views[:, there]


def scaling_of(X: np.ndarray, weights: np.ndarray) -> Scaling:
    """Return mean and scale of the rows, block by block: no copy of X is made."""
    scaler = StandardScaler()
    for start in range(0, len(X), ROWS):
        part = slice(start, start + ROWS)
        scaler.partial_fit(X[part], sample_weight=weights[part])
    return Scaling(scaler.mean_, scaler.scale_)
