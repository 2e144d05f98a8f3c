"""Which labels are likely wrong: rows that a head which never saw them is sure to be others.

Every row is judged by a head that was trained on other folds; copies and near copies of an image
are in one fold. A label is doubted by its margin, how much more probable another class is than the
label (one of the label quality scores of Northcutt, Jiang and Chuang, JAIR 70, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOLDS = 5
CS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse penalties of the judging heads: strong ones, which do not learn wrong labels by heart."""

MARGIN = 0.4
"""Margin above which a label is doubted. Of labels swapped at random in photographs, 5 %, .85 (two
classes) and .88 (three) are doubted, and of what is doubted .88 and .58 were swapped."""


@dataclass(frozen=True, eq=False)
class Doubts:
    """What is doubted, and how much."""

    suggested: np.ndarray
    """(n,) int64: the likelier class where a label is doubted, -1 elsewhere."""
    margin: np.ndarray
    """(n,) float64: probability of the likeliest other class less that of the label, -1..1."""


def out_of_fold(X: np.ndarray, codes: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return probabilities (n, classes) of each row by logistic regression on other folds.

    Args:
        X: (n, d) features.
        codes: (n,) classes, all of 0 ... c - 1 in at least two groups each.
        groups: (n,) what must not be parted.
        seed: Draws the folds.

    Returns:
        Rows of 0 where the other folds have one class only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    from heads.logistic import LogisticHead

    each = np.unique(np.column_stack([codes, groups]), axis=0)[:, 0]  # a class of each group in it
    splitter = StratifiedGroupKFold(
        min(FOLDS, int(np.bincount(each).min())), shuffle=True, random_state=seed
    )
    folds = [
        (train, test)
        for train, test in splitter.split(X, codes, groups)
        if len(test) and len(np.unique(codes[train])) > 1
    ]
    found = np.zeros((len(X), codes.max() + 1))
    if not folds:
        return found
    C = LogisticHead(CS, cv=folds, refit=False).fit(X, codes).C_
    for train, test in folds:
        head = LogisticHead([C]).fit(X[train], codes[train])
        found[np.ix_(test, head.classes_)] = head.predict_proba(X[test])
    return found


def doubt(probabilities: np.ndarray, codes: np.ndarray) -> Doubts:
    """Compare labels with what heads that did not see them say.

    Args:
        probabilities: (n, classes) out of fold.
        codes: (n,) labels.
    """
    rows = np.arange(len(codes))
    others = probabilities.copy()
    others[rows, codes] = -1
    likeliest = others.argmax(axis=1)
    margin = others[rows, likeliest] - probabilities[rows, codes]
    return Doubts(np.where(margin > MARGIN, likeliest, -1), margin)
