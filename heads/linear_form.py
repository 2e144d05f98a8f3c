"""A fitted estimator as affine maps, where that is what it computes.

    scaler: x * s + t      head: x @ W.T + b      together: x @ (W * s).T + (W @ t + b)

Such heads need no scikit-learn to predict, and become Keras layers. The table below names the
classes of scikit-learn whose `predict` is the largest of affine functions; a subclass of one may
compute something else, so classes are compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heads.errors import HeadError, ParityError
from heads.scoring import ACTIVATIONS, Dense, Scorer

Affine = tuple[np.ndarray, np.ndarray]
"""W (k, d) and b (k,), float64: x ↦ x @ W.T + b."""

MARGIN = 1e-4
"""Relative to the largest logit: below it, float32 may decide otherwise than float64."""


def linear_form(estimator: Any) -> Affine | None:
    """Return what a fitted linear classifier computes, or None where it is none.

    Returns:
        `coef` (classes, d), or (1, d) for two classes with one decision value, and `intercept`
        (classes or 1,), float64: `decision_function(X)` is X @ coef.T + intercept. Naive Bayes
        and NearestCentroid differ from it by what is the same for all classes of a row (with
        equal priors, the latter predicts without it); their largest value is what they predict.
    """
    stack = affine_stack(estimator)
    return stack[0][0] if stack is not None and len(stack[0]) == 1 else None


def affine_stack(estimator: Any) -> tuple[list[Affine], str] | None:
    """Return affine maps and the activation between them (a key of `ACTIVATIONS`), or None."""
    name = _sklearn_name(estimator)
    if name == "Pipeline":
        return _folded([step for _, step in estimator.steps])
    if (read := _HEADS.get(name)) is not None:
        form = read(estimator)
        return ([form], "linear") if form is not None else None
    if name == "MLPClassifier" or (_is_ours(estimator) and hasattr(estimator, "coefs_")):
        return _layers(estimator)
    if _is_ours(estimator) and hasattr(estimator, "coef_"):
        return [_coef(estimator)], "linear"
    return None


def scorer_of(estimator: Any, classes: int) -> Scorer:
    """Return a fitted head as what a model keeps: arrays where it can be, else scikit-learn's own.

    Args:
        estimator: A classifier fitted on codes 0 to `classes` - 1.
        classes: How many there are.

    Raises:
        HeadError: If the estimator knows other classes, or cannot be kept.
    """
    learned: Any = getattr(estimator, "classes_", None)
    if not np.array_equal(learned, np.arange(classes)):
        raise HeadError(
            f"A head learns {classes} classes, as codes from 0. Received: one fitted on {learned!r}"
        )
    if _is_ours(estimator) and hasattr(estimator, "scorer"):
        return estimator.scorer()
    if (stack := affine_stack(estimator)) is None:
        from heads.sklearn_heads import SklearnScorer

        return SklearnScorer.of(estimator)
    maps, activation = stack
    if len(maps) == 1:
        return Dense.linear(*maps[0])
    kernels = tuple(np.ascontiguousarray(W.T, np.float32) for W, _ in maps)
    return Dense(kernels, tuple(b.astype(np.float32) for _, b in maps), activation)


def check_scorer(scorer: Scorer, estimator: Any, X: np.ndarray) -> None:
    """Raise `ParityError` unless a scorer names the classes that the estimator predicts.

    Args:
        scorer: What `scorer_of` gave.
        estimator: Fitted on codes.
        X: (n, d) float32 rows to compare on; those whose two best logits are within `MARGIN` of
            the largest logit are left out.
    """
    logits = scorer.logits(X)
    two_best = np.partition(logits, -2, axis=1)[:, -2:]  # (n, 2), the best last
    sure = two_best[:, 1] - two_best[:, 0] > MARGIN * np.abs(logits).max(initial=0)
    wrong = int((logits.argmax(axis=1) != estimator.predict(X))[sure].sum())
    if wrong:
        raise ParityError(
            f"{type(estimator).__name__} as arrays names another class than the estimator for "
            f"{wrong} of {int(sure.sum())} rows. Please report this"
        )


def _sklearn_name(estimator: Any) -> str:
    """Return the class name if it is scikit-learn's own, else ""."""
    cls = type(estimator)
    return cls.__name__ if cls.__module__.partition(".")[0] == "sklearn" else ""


def _is_ours(estimator: Any) -> bool:
    return type(estimator).__module__.partition(".")[0] == "heads"


def _affine(coef: Any, intercept: Any) -> Affine:
    W = np.atleast_2d(np.asarray(coef, np.float64))
    return W, np.broadcast_to(np.asarray(intercept, np.float64), len(W)).copy()


def _coef(head: Any) -> Affine:
    return _affine(head.coef_, head.intercept_)


def _svc(head: Any) -> Affine | None:
    """Three classes or more are decided by votes between pairs, which is not affine."""
    return _coef(head) if head.kernel == "linear" and len(head.classes_) == 2 else None


def _naive_bayes(head: Any) -> Affine:
    """Log joint probabilities, less their mean over the classes: it moves no softmax."""
    W = head.feature_log_prob_
    prior = head.class_log_prior_ if _sklearn_name(head) == "MultinomialNB" else 0.0
    return _affine(W - W.mean(axis=0), prior)


def _nearest_centroid(head: Any) -> Affine | None:
    """-|x - m|² + |x|² = 2 x·m - |m|²; unequal priors divide features by their deviation first."""
    if head.metric != "euclidean":
        return None
    prior, deviation = head.class_prior_, head.within_class_std_dev_
    equal = np.isclose(prior, 1 / len(prior)).all()
    variance = 1.0 if equal else np.where(deviation > 0, deviation, 1) ** 2
    W = 2 * head.centroids_ / variance
    b = 2 * np.log(prior) - (W * head.centroids_).sum(axis=1) / 2
    if len(prior) == 2:  # its decision function is the difference
        return _affine(W[1] - W[0], b[1] - b[0])
    return _affine(W, b)


_HEADS: dict[str, Callable[[Any], Affine | None]] = {
    "ComplementNB": _naive_bayes,
    "LinearDiscriminantAnalysis": _coef,
    "LinearSVC": _coef,
    "LogisticRegression": _coef,
    "LogisticRegressionCV": _coef,
    "MultinomialNB": _naive_bayes,
    "NearestCentroid": _nearest_centroid,
    "NuSVC": _svc,
    "PassiveAggressiveClassifier": _coef,
    "Perceptron": _coef,
    "RidgeClassifier": _coef,
    "RidgeClassifierCV": _coef,
    "SGDClassifier": _coef,
    "SVC": _svc,
}


def _layers(network: Any) -> tuple[list[Affine], str] | None:
    """Read a network whose `coefs_` are (inputs, outputs), as scikit-learn keeps them."""
    activation = {"identity": "linear"}.get(network.activation, network.activation)
    if activation not in ACTIVATIONS:
        return None
    pairs = zip(network.coefs_, network.intercepts_, strict=True)
    return [_affine(np.transpose(W), b) for W, b in pairs], activation


def _folded(steps: list[Any]) -> tuple[list[Affine], str] | None:
    """Fold the steps before a head into its first map, the last of them first."""
    if (stack := affine_stack(steps[-1])) is None:
        return None
    (W, b), *others = stack[0]
    for step in reversed(steps[:-1]):
        if step is None or step == "passthrough":
            continue
        if (read := _STEPS.get(_sklearn_name(step))) is None or (found := read(step)) is None:
            return None
        scale, offset = found
        b = b + W @ offset
        W = W * scale if scale.ndim == 1 else W @ scale
    return [(W, b), *others], stack[1]


def _standard(step: Any) -> Affine:
    center = step.mean_ if step.with_mean else None  # kept even where it is not subtracted
    return _scaled(step.n_features_in_, center, step.scale_)


def _robust(step: Any) -> Affine:
    return _scaled(step.n_features_in_, step.center_, step.scale_)


def _scaled(width: int, center: np.ndarray | None, scale: np.ndarray | None) -> Affine:
    """(x - center) / scale, of which either may be absent; scales are never 0 in scikit-learn."""
    s = np.ones(width) if scale is None else 1 / np.asarray(scale, np.float64)
    return s, (np.zeros(width) if center is None else -np.asarray(center, np.float64) * s)


def _min_max(step: Any) -> Affine | None:
    return None if step.clip else (step.scale_, step.min_)


def _max_abs(step: Any) -> Affine | None:
    return None if getattr(step, "clip", False) else _scaled(step.n_features_in_, None, step.scale_)


def _pca(step: Any) -> Affine:
    W = np.asarray(step.components_, np.float64)  # (k, d)
    if step.whiten:
        deviation = np.sqrt(step.explained_variance_)
        W = W / np.maximum(deviation, np.finfo(deviation.dtype).eps)[:, None]
    return W, -W @ step.mean_


_STEPS: dict[str, Callable[[Any], Affine | None]] = {
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "PCA": _pca,
    "RobustScaler": _robust,
    "StandardScaler": _standard,
}
"""Each gives (scale (d,), offset (d,)) of x * scale + offset, or (W (k, d), offset (k,))."""
