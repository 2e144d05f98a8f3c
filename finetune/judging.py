"""How good the network is on validation rows, by NumPy; the same way before, during and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from heads.metrics import log_losses
from heads.scoring import softmax

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, order=True)
class Judgment:
    """Accuracy, and the loss that decides between equals; a greater one is a better one."""

    accuracy: float
    goodness: float
    """Less the mean cross-entropy in nats."""

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return -self.goodness

    def beats(self, other: Judgment) -> bool:
        """Whether this is better: more rows right, or as many with a lower loss."""
        return bool(np.isfinite(self.loss)) and self > other


def judge(logits: np.ndarray, codes: np.ndarray) -> Judgment:
    """Judge logits (n, classes) of rows whose classes are codes (n,)."""
    if not np.isfinite(logits).all():
        return Judgment(0.0, -np.inf)
    accuracy = float(np.mean(logits.argmax(axis=1) == codes))
    return Judgment(accuracy, -float(log_losses(softmax(logits), codes).mean()))


def rows_of(body: keras.Model, batches: Any) -> np.ndarray:
    """Return feature rows (n, d) float32 of inputs that come in batches."""
    return np.asarray(body.predict(batches, verbose=0), np.float32)
