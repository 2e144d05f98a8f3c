"""What classifiers answer once they have logits: written once for those that differ before that."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from heads.scoring import softmax


class Probabilities(ClassifierMixin, BaseEstimator):
    """Probabilities and labels, from logits."""

    classes_: np.ndarray

    @abstractmethod
    def _logits(self, X: Any) -> np.ndarray:
        """Return (n, classes) of X (n, d)."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (n, classes) float64 of X (n, d)."""
        return softmax(self._logits(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest label (n,) of X (n, d)."""
        codes = self._logits(X).argmax(axis=1)  # which says first whether it is fitted
        return self.classes_[codes]


class Decisions(Probabilities):
    """Decision values beside them; the first of two classes has a logit of 0."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits of X (n, d): (n,) of the second class for two, else (n, classes)."""
        logits = self._logits(X)
        return logits[:, 1] if len(self.classes_) == 2 else logits
