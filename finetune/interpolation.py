"""Weights between those of the head and the tuned ones: often better than either.

Source: Wortsman et al., Robust fine-tuning of zero-shot models (WiSE-FT), CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from finetune.judging import Judgment

SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""Shares of the tuned weights that are tried."""


def between(
    start: Sequence[np.ndarray], tuned: Sequence[np.ndarray], share: float
) -> list[np.ndarray]:
    """Return (1 - share) * start + share * tuned, array by array."""
    pairs = zip(start, tuned, strict=True)
    return [((1 - share) * a + share * b).astype(a.dtype) for a, b in pairs]


def best_share(
    start: Sequence[np.ndarray],
    tuned: Sequence[np.ndarray],
    judge: Callable[[list[np.ndarray]], Judgment],
    best: Judgment,
) -> tuple[float | None, Judgment]:
    """Return the share whose weights beat `best` and all other shares, and their judgment.

    Args:
        start: Weights of the head alone.
        tuned: The tuned ones.
        judge: Judges weights on validation rows.
        best: What is to be beaten.

    Returns:
        None, and `best`, where no share beats it.
    """
    found: float | None = None
    for share in SHARES:
        judgment = judge(between(start, tuned, share))
        if judgment.beats(best):
            found, best = share, judgment
    return found, best
