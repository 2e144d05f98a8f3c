"""Any classifier of scikit-learn as a head: found by name, trained on a stream, kept by skops.

A name is text that somebody typed or a file holds, so it is looked up in scikit-learn's own list
of classifiers; it never decides what is imported.
"""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np

from heads.errors import DamagedModelError, HeadError
from heads.scoring import Scorer, two_columns
from heads.skops_io import dump, load

ROWS = 4096
"""Rows that are scored at once, so that memory does not grow with the data set."""
LEAST = 1e-7
"""Probabilities below it count as it, so that no logit is infinite."""

Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Gives X (m, d) and y (m,) of all rows anew at each call, in pieces."""


@cache
def classifiers() -> dict[str, type]:
    """Return scikit-learn's classifiers by the name that one imports, such as "sklearn.svm.SVC"."""
    from sklearn.utils import all_estimators

    return {_public(cls): cls for _, cls in all_estimators(type_filter="classifier")}


def _public(cls: type) -> str:
    """Return "sklearn.svm.SVC" for `sklearn.svm._classes.SVC`."""
    public: list[str] = []
    for part in cls.__module__.split("."):
        if part.startswith("_"):
            break
        public.append(part)
    return ".".join([*public, cls.__name__])


def resolve(name: str) -> type:
    """Return the classifier that a dotted name stands for.

    Raises:
        HeadError: If scikit-learn has no such classifier; the message has names that are near.
    """
    known = classifiers()
    if name in known:
        return known[name]
    last = {full.rpartition(".")[2].lower(): full for full in known}
    near = difflib.get_close_matches(name.rpartition(".")[2].lower(), list(last), 3, 0.6)
    hint = " or ".join(last[match] for match in near) or "a class such as sklearn.svm.SVC"
    raise HeadError(f"scikit-learn has no classifier {name}. Is it {hint}?")


def check_classifier(estimator: Any) -> None:
    """Raise `HeadError` unless an object can be a classifier, and is made: no class of one.

    What does not say what it is, as scikit-learn's own do, may be one.
    """
    if isinstance(estimator, type):
        name = estimator.__name__
        raise HeadError(f"{name} is a class. Give one that is made: {name}()")
    tags = getattr(estimator, "__sklearn_tags__", None)
    kind = tags().estimator_type if tags is not None else None
    offers = all(hasattr(estimator, name) for name in ("get_params", "fit", "predict"))
    if not offers or kind not in ("classifier", None):
        raise HeadError(
            f"{type(estimator).__name__} is no classifier. Give a name such as 'logistic', or a "
            f"classifier of scikit-learn such as LogisticRegression()"
        )


def required(cls: type) -> list[str]:
    """Return the parameters without which a class cannot be made, such as other estimators."""
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def fit_stream(
    estimator: Any,
    blocks: Blocks,
    classes: np.ndarray,
    validation: Blocks | None = None,
    *,
    epochs: int | None = None,
) -> Any:
    """Train a classifier that has `partial_fit`, in place, one block at a time.

    Estimators with `max_iter` make at most that many passes over the blocks. They stop, as
    scikit-learn's own early stopping does, after `n_iter_no_change` passes (5 where the estimator
    has none) whose accuracy is not at least `tol` above the best: on validation rows, and then
    the best pass is what is kept; without them on each block just before it is learnt from.
    Estimators without `max_iter`, such as naive Bayes, only count: they make one pass.

    Memory holds one block, the estimator and its best state. The rows of a block should be of all
    classes: a stream sorted by class is learnt in that order.

    Args:
        estimator: Not fitted yet. `class_weight="balanced"`, which `partial_fit` refuses, is
            replaced by the weights themselves, and `early_stopping` is turned off: it is done here.
        blocks: Rows to learn from.
        classes: (classes,), all labels that may come.
        validation: Rows that are not learnt from.
        epochs: Passes at most, instead of `max_iter`.

    Returns:
        The estimator.
    """
    _prepare(estimator, blocks, classes)
    parameters = estimator.get_params(deep=False)
    passes = epochs or parameters.get("max_iter") or 1
    tol, patience = parameters.get("tol") or 0.0, parameters.get("n_iter_no_change") or 5
    best, state, stale = -np.inf, None, 0
    for _ in range(passes):
        score = _learn(estimator, blocks(), classes, ask=passes > 1 and validation is None)
        if passes > 1 and validation is not None:
            score = _accuracy(estimator, validation())
        stale = stale + 1 if score < best + tol else 0
        if score > best:
            best = score
            state = copy.deepcopy(vars(estimator)) if validation is not None else None
        if stale >= patience:
            break
    if state is not None:
        vars(estimator).update(state)
    return estimator


def _prepare(estimator: Any, blocks: Blocks, classes: np.ndarray) -> None:
    """Replace what `partial_fit` refuses by what it means."""
    parameters = estimator.get_params(deep=False)
    if parameters.get("early_stopping"):
        estimator.set_params(early_stopping=False)
    if parameters.get("class_weight") == "balanced":
        counts = sum((y[:, None] == classes).sum(axis=0) for _, y in blocks())
        weights = counts.sum() / (len(classes) * np.maximum(counts, 1))
        estimator.set_params(
            class_weight=dict(zip(classes.tolist(), weights.tolist(), strict=True))
        )


def _learn(
    estimator: Any, blocks: Iterable[tuple[np.ndarray, np.ndarray]], classes: np.ndarray, ask: bool
) -> float:
    """Learn from each block once; return the accuracy on each just before, if asked for."""
    right = rows = 0
    for X, y in blocks:
        if ask and hasattr(estimator, "classes_"):
            right, rows = right + int((estimator.predict(X) == y).sum()), rows + len(y)
        estimator.partial_fit(X, y, classes=classes)
    return right / rows if rows else 0.0


def _accuracy(estimator: Any, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    right = rows = 0
    for X, y in blocks:
        right, rows = right + int((estimator.predict(X) == y).sum()), rows + len(y)
    return right / rows


@dataclass(frozen=True, eq=False)
class SklearnScorer(Scorer):
    """A classifier of scikit-learn, for what is no stack of affine maps.

    Logits are its decision values where it has them, else the logarithms of its probabilities.
    """

    kind: ClassVar[str] = "sklearn"

    estimator: Any = field(repr=False)
    content: bytes = field(repr=False)
    """The estimator as a skops file."""

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Take a fitted classifier.

        Raises:
            HeadError: If it gives neither decision values nor probabilities, or holds a type that
                a model does not keep.
        """
        _values_of(estimator)
        return cls(estimator, dump(estimator))

    @classmethod
    def from_skops(cls, content: bytes) -> Self:
        """Rebuild what `content` held.

        Raises:
            DamagedModelError: If it is no classifier, or names a type that is not on our list.
        """
        estimator = load(content)
        if not isinstance(getattr(estimator, "classes_", None), np.ndarray):
            raise DamagedModelError(f"The estimator's file holds no classifier: {estimator!r}")
        return cls(estimator, content)

    def logits(self, X: np.ndarray) -> np.ndarray:
        parts = [self._logits(X[start : start + ROWS]) for start in range(0, len(X), ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.estimator.classes_)), "f4")

    def _logits(self, X: np.ndarray) -> np.ndarray:
        values = _values_of(self.estimator)(np.asarray(X, np.float32))
        return two_columns(values.reshape(len(X), -1)).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def facts(self) -> dict[str, object]:
        return {"class": _public(type(self.estimator))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Self:
        raise ValueError("An estimator of scikit-learn is kept as a skops file, not as arrays")


def _values_of(estimator: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return the method whose values become logits: (n,) for two classes or (n, classes)."""
    # Naive Bayes rounds most probabilities to 0 and 1; its joint logarithms still tell them apart.
    for name in ("decision_function", "predict_joint_log_proba"):
        if hasattr(estimator, name):
            return getattr(estimator, name)
    if hasattr(estimator, "predict_proba"):
        return lambda X: np.log(np.maximum(estimator.predict_proba(X), LEAST))
    raise HeadError(
        f"{_public(type(estimator))} gives neither decision values nor probabilities with these "
        f"settings, so nothing could be calibrated. Choose another estimator"
    )
