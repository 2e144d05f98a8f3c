"""Areas under curves: what follows from the order in which a score puts the rows.

Rows enter in falling order of the score, and rows of equal score enter together, so that no
number depends on the order in which rows were given. Each area comes with its influence.
"""

from __future__ import annotations

import numpy as np

from heads.bootstrap import Statistic


class Ranking:
    """Rows in falling order of a score (n,)."""

    def __init__(self, score: np.ndarray) -> None:
        self._order = np.argsort(-score)
        falling = score[self._order]
        self._ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        """Position of the last row of each group of equal score: (groups,)."""
        self._sizes = np.diff(self._ends, prepend=-1)

    def roc_auc(self, positive: np.ndarray) -> Statistic:
        """Return the area under the ROC curve of a class that has, and lacks, some rows (n,) bool.

        It is the share of pairs, one row of the class and one other, that the score puts in the
        right order; a pair of equal score is half right.

        Source: DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988, for the influence.
        """
        rows, inside = len(positive), int(positive.sum())
        outside = rows - inside
        true = self._entered(positive)
        false = self._ends + 1 - true
        # Rows of the class that stand above each group, and others below it; half of the group's.
        above = (true + np.append(0, true[:-1])) / 2
        below = outside - (false + np.append(0, false[:-1])) / 2
        value = float((np.diff(false, prepend=0) * above).sum() / (inside * outside))
        won = np.where(
            positive[self._order],
            np.repeat(below / outside - value, self._sizes) / inside,
            np.repeat(above / inside - value, self._sizes) / outside,
        )
        return Statistic(value, rows * self._given_order(won))

    def mean_of_means(self, values: np.ndarray, counted: np.ndarray) -> Statistic:
        """Return the mean, over rows that are counted, of the mean of values entered until then.

        With rows of a class as values and counted, it is the average precision; with errors as
        values and all rows counted, the area under the risk-coverage curve.

        Args:
            values: (n,) numbers or booleans.
            counted: (n,) bool, not all False.
        """
        rows, total = len(values), int(counted.sum())
        entered = self._ends + 1
        means = self._entered(values) / entered
        newly = np.diff(self._entered(counted), prepend=0)
        value = float((newly * means).sum() / total)
        # A row shifts the mean at its own group and at all that come after it.
        after = np.cumsum((newly / entered)[::-1])[::-1]
        lost = np.cumsum((newly * means / entered)[::-1])[::-1]
        moved = (
            counted[self._order] * np.repeat(means - value, self._sizes)
            + values[self._order] * np.repeat(after, self._sizes)
            - np.repeat(lost, self._sizes)
        )
        return Statistic(value, rows / total * self._given_order(moved))

    def _entered(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of values (n,) up to the end of each group: (groups,) float64."""
        return np.cumsum(values[self._order], dtype=np.float64)[self._ends]

    def _given_order(self, ranked: np.ndarray) -> np.ndarray:
        out = np.empty(len(ranked))
        out[self._order] = ranked
        return out
