"""Do two splits look alike? A head that is to tell them apart says so.

If rows come from one distribution, no classifier tells them apart: its area under the ROC curve on
rows that it did not see is about .5. Where the whole interval is above `TELLS`, a split differs
from train by more than chance, and numbers on it say less about the other.

Source: Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.bootstrap import intervals
from heads.label_errors import out_of_fold
from heads.ranking import Ranking

TELLS = 0.6
"""Area above which splits differ by more than what a few odd images make."""
FEWEST = 20
"""Distinct images of a split below which nothing can be said."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How well a head tells a split from train."""

    split: str
    roc_auc: float
    interval: tuple[float, float]
    """95 %, by bootstrap."""

    @property
    def found(self) -> bool:
        """Whether they differ."""
        return self.interval[0] > TELLS


def shift(X: np.ndarray, in_split: np.ndarray, groups: np.ndarray, split: str, seed: int) -> Shift:
    """Try to tell rows of a split from others.

    Args:
        X: (n, d) features.
        in_split: (n,) bool: whether a row is in the split; `FEWEST` are, and as many are not.
        groups: (n,) what must not be parted, such as copies of an image.
        split: The split's name.
        seed: Draws the folds.
    """
    score = out_of_fold(X, in_split.astype(int), groups, seed)[:, 1]
    area = Ranking(score).roc_auc(in_split)
    return Shift(split, area.value, intervals({"roc_auc": area}, seed)["roc_auc"])
