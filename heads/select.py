"""What heads that choose a penalty on held-out rows share: penalties, folds, weights, choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from heads.errors import HeadError

ClassWeight = str | Mapping[Any, float] | None
"""None, "balanced" or a weight for each class that is named, 1 for the others."""


def penalties(name: str, given: int | Sequence[float], low: float, high: float) -> np.ndarray:
    """Return penalties (k,) float64 in the order in which they were given.

    Args:
        name: Of the parameter, for messages.
        given: The penalties, or how many between `low` and `high`, evenly spaced in logarithm.
        low: The smallest, where `given` is a number.
        high: The largest.

    Raises:
        HeadError: If there is none, or one is not a finite number above 0.
    """
    if isinstance(given, Integral) and not isinstance(given, bool) and int(given) >= 1:
        return np.geomspace(low, high, int(given))
    found = np.array([] if isinstance(given, str | Real) else given)
    if not (found.ndim == 1 and found.size and found.dtype.kind in "fiu"):
        raise HeadError(f"{name} is an integer >= 1 or a list of numbers. Received: {given!r}")
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise HeadError(f"{name} are finite numbers above 0. Received: {given!r}")
    return found.astype(np.float64)


def encode(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return classes (c,), sorted, and codes (n,) of labels.

    Raises:
        ValueError: If y is not a list of labels, or knows fewer than two classes.
    """
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise HeadError(f"A head needs two classes. Received one class: {classes[0]!r}")
    return classes, codes


@dataclass(frozen=True, eq=False)
class Folds:
    """Rows that train and rows that judge, fold by fold."""

    train: np.ndarray
    """(folds, n) bool."""
    test: np.ndarray
    """(folds, n) bool."""

    @classmethod
    def of(cls, cv: Any, X: np.ndarray, y: np.ndarray) -> Folds:
        """Split rows as LogisticRegressionCV does.

        Args:
            cv: None, an integer, a splitter, or pairs of rows that train and rows that judge.
            X: (n, d) features.
            y: (n,) labels.

        Raises:
            ValueError: If rows cannot be split so; scikit-learn says why.
        """
        pairs = cv if isinstance(cv, list) else _pairs(cv, X, y)
        return cls(*(np.stack([_mask(pair[i], len(X)) for pair in pairs]) for i in (0, 1)))

    def __len__(self) -> int:
        return len(self.train)


def _pairs(cv: Any, X: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import check_cv  # half a second, which rows of a list do not need

    return list(check_cv(cv, y, classifier=True).split(X, y))


def _mask(rows: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def class_weights(
    given: ClassWeight, classes: np.ndarray, codes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return (classes,) float64: what the weight of a row is multiplied by, for its class.

    Args:
        given: As users give it.
        classes: (c,), sorted.
        codes: (n,), the class of each row.
        weights: (n,) weights of the rows. "balanced" gives every class the same sum of weights,
            and leaves their total as it is.

    Raises:
        HeadError: If `given` names no weight, or a class that there is not.
    """
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str) and given == "balanced":
        sums = np.bincount(codes, weights, len(classes))
        present = np.count_nonzero(sums)
        return np.divide(sums.sum(), present * sums, out=np.zeros(len(sums)), where=sums > 0)
    if not isinstance(given, Mapping):
        raise HeadError(f"class_weight is None, 'balanced' or a dict. Received: {given!r}")
    names = classes.tolist()
    if strange := [name for name in given if name not in names]:
        raise HeadError(f"class_weight has the keys {strange}; the classes are {names}")
    return np.array([float(given.get(name, 1)) for name in names])


@dataclass(frozen=True, eq=False)
class Scores:
    """What held-out rows say of each penalty."""

    accuracy: np.ndarray
    """(folds, k)."""
    loss: np.ndarray
    """(folds, k), the lower the better: it settles ties."""

    def best(self, penalties: np.ndarray, strong: float) -> int:
        """Return the index of the best mean accuracy over the folds.

        Among equals the lowest mean loss decides, then the strongest penalty.

        Args:
            penalties: (k,).
            strong: 1 where large penalties are the strong ones, -1 where small ones are.
        """
        # Means of the same counts may differ in the last bits, by the order of the folds.
        accuracy = self.accuracy.mean(axis=0).round(12)
        return int(np.lexsort((-strong * penalties, self.loss.mean(axis=0), -accuracy))[0])

    def best_of_each_fold(self, penalties: np.ndarray, strong: float) -> list[int]:
        """Return what `best` would for each fold alone."""
        return [
            Scores(accuracy[None], loss[None]).best(penalties, strong)
            for accuracy, loss in zip(self.accuracy, self.loss, strict=True)
        ]

    def table(self, name: str, penalties: np.ndarray, loss: str) -> list[dict[str, float]]:
        """Return a row for each penalty: its value, and the means over the folds."""
        means = zip(penalties, self.accuracy.mean(axis=0), self.loss.mean(axis=0), strict=True)
        return [
            {name: float(penalty), "accuracy": float(accuracy), loss: float(value)}
            for penalty, accuracy, value in means
        ]
