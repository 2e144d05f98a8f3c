"""Pixels in, probabilities and novelty out: the whole model as one function.

    pixels ─▶ engine ─▶ columns ─▶ one row of features ─▶ scorer ─▶ temperature ─▶ probabilities
                                                       └▶ novelty

Only NumPy, OpenVINO and the project's own small modules are used: a packed folder carries this
very file. It knows arrays; it knows nothing of files, stores or items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.engines.engine import Engine
from heads.novelty import Novelty
from heads.scoring import Scorer, answers


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of n images."""

    probabilities: np.ndarray
    """(n, classes) float64: each row sums to 1, but for labels that do not exclude each other; and
    under regression they are numbers."""
    novelty: np.ndarray
    """(n,) float64 in 0..1: how unlike the training images; see `heads.novelty`."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A head on its frozen backbone."""

    engine: Engine
    order: tuple[int, ...]
    """Which output of the engine each of the head's columns is."""
    dtypes: tuple[str, ...]
    """Type in which each column was cached: "float16" rounds, as the training rows were."""
    scorer: Scorer
    temperature: float
    novelty: Novelty
    names: int
    """Classes, labels or numbers."""
    task: str = "classification"

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return (n, d) float32 for pixels (n, size, size, 3) float32 in 0..255."""
        outputs = self.engine(pixels)
        return side_by_side([outputs[i] for i in self.order], self.dtypes)

    def judge(self, features: np.ndarray) -> Answer:
        """Return what the head says of features (n, d) float32."""
        logits = self.scorer.logits(features)
        found = answers(logits, self.task, self.temperature, self.names)
        return Answer(found, self.novelty(features))

    def __call__(self, pixels: np.ndarray) -> Answer:
        """Return what the model says of pixels (n, size, size, 3) float32 in 0..255."""
        return self.judge(self.features(pixels))


def side_by_side(columns: Sequence[np.ndarray], dtypes: Sequence[str]) -> np.ndarray:
    """Join columns of the same images into (n, d) float32, each rounded as it was cached."""
    flat = [
        column.astype(dtype, copy=False).astype(np.float32, copy=False).reshape(len(column), -1)
        for column, dtype in zip(columns, dtypes, strict=True)
    ]
    return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
