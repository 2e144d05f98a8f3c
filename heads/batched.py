"""Many linear heads that train as one: a step is one matrix product for all of them.

    rows x (b, d) @ kernels (d, outputs * heads) ─▶ logits (b, outputs, heads)
                                                 ─▶ gradients, one Adam step with a rate per head

What one head costs is mostly reading its rows and calling NumPy; the others ride along. Each head
becomes what `heads.neural.LinearHead` with the same settings and seed becomes, to rounding: the
same first weights, the same order of rows, the same Adam.

Source: Kingma and Ba, Adam, ICLR 2015; Loshchilov and Hutter, Decoupled Weight Decay
Regularization, ICLR 2019, in the form of `keras.optimizers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from heads.grid import Setting
from heads.ridge import columns_of

MOMENTUM, DECAY, EPSILON = 0.9, 0.999, 1e-7
"""Of Adam, as Keras has them."""
CACHED = 2**14
"""Weights that a step moves at once: what Adam reads and writes for them stays in the cache."""
TINY = np.float32(1e-12)
"""Slopes below this are none: a processor computes so slowly with subnormal numbers that a step of
heads that are sure of their rows took three times as long."""
CELLS = 2**22
"""Logits that are held at once when rows are judged."""


@dataclass(eq=False)
class Heads:
    """The state of H heads on d features: float32, the heads along the last axis."""

    kernels: np.ndarray
    """(d, outputs, H); one output for two classes."""
    biases: np.ndarray
    """(outputs, H)."""
    moments: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """Adam's sums of gradients and of squares, for kernels and for biases; unscaled."""
    learning_rate: np.ndarray
    """(H,)."""
    weight_decay: np.ndarray
    """(H,)."""
    label_smoothing: np.ndarray
    """(H,)."""
    classes: int
    steps: int = 0

    @classmethod
    def start(cls, width: int, shares: np.ndarray, settings: Sequence[Setting]) -> Self:
        """Return heads before the first step: no kernel, and the bias of what classes are like.

        Args:
            width: Features, d.
            shares: (classes,) weight of each class among the rows, of sum 1.
            settings: One for each head; columns and seeds are not looked at.
        """
        outputs, count = columns_of(len(shares)), len(settings)
        smoothing = np.array([s.label_smoothing for s in settings])
        smooth = (1 - smoothing) * shares[:, None] + smoothing / len(shares)
        logits = np.log(np.maximum(smooth, 1e-9))  # (classes, H); a class may have the weight 0
        biases = logits[1:] - logits[:1] if outputs == 1 else logits
        shapes = [(width, outputs, count)] * 2 + [(outputs, count)] * 2
        a, b, c, d = (np.zeros(shape, np.float32) for shape in shapes)
        return cls(
            kernels=np.zeros(shapes[0], np.float32),
            biases=biases.astype(np.float32),
            moments=(a, b, c, d),
            learning_rate=np.array([s.learning_rate for s in settings], np.float32),
            weight_decay=np.array([s.weight_decay for s in settings], np.float32),
            label_smoothing=smoothing.astype(np.float32),
            classes=len(shares),
        )

    def __len__(self) -> int:
        return len(self.learning_rate)

    def only(self, kept: np.ndarray) -> Self:
        """Return the heads that are kept (H,) bool."""

        def part(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array[..., kept])

        a, b, c, d = map(part, self.moments)
        return type(self)(
            kernels=part(self.kernels),
            biases=part(self.biases),
            moments=(a, b, c, d),
            learning_rate=self.learning_rate[kept],
            weight_decay=self.weight_decay[kept],
            label_smoothing=self.label_smoothing[kept],
            classes=self.classes,
            steps=self.steps,
        )

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return (b, outputs, H) for standardized rows x (b, d)."""
        d, outputs, count = self.kernels.shape
        flat = x @ self.kernels.reshape(d, outputs * count)
        return flat.reshape(len(x), outputs, count) + self.biases

    def step(self, x: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> None:
        """Train every head on one batch.

        Args:
            x: (b, d) float32, standardized.
            codes: (b,) int, the class of each row.
            weights: (b,) float32 weight of each row, of mean 1 over all rows.
        """
        slope = self._slopes(x, codes)
        slope *= (weights / np.float32(len(x)))[:, None, None]
        d, outputs, count = self.kernels.shape
        gradient = (x.T @ slope.reshape(len(x), outputs * count)).reshape(d, outputs, count)
        self.steps += 1
        if self.weight_decay.any():  # else a pass over the kernels is saved
            self.kernels *= 1 - self.learning_rate * self.weight_decay
        a, b, c, e = self.moments
        self._adam(self.kernels, gradient, a, b)
        self._adam(self.biases, slope.sum(axis=0), c, e)

    def _slopes(self, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the slope of each row's loss by its logits: probabilities less smooth labels."""
        z = self._excess(x, codes)
        z[np.abs(z) < TINY] = 0
        return z

    def _excess(self, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
        z = self.logits(x)
        smoothing = self.label_smoothing
        if z.shape[1] == 1:
            np.negative(z, out=z)
            with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0
                np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)
            z -= smoothing / 2
            z[codes == 1] -= 1 - smoothing
            return z
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        z -= smoothing / self.classes
        z[np.arange(len(z)), codes] -= 1 - smoothing
        return z

    def _adam(
        self, value: np.ndarray, gradient: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> None:
        """Move `value` by one step, in place; sums are unscaled, and the rate makes up for it."""
        scale = (1 - DECAY) ** 0.5
        corrected = (1 - DECAY**self.steps) ** 0.5 / (1 - MOMENTUM**self.steps)
        rate = self.learning_rate * np.float32(corrected * (1 - MOMENTUM) / scale)
        rows = max(1, CACHED // value[0].size)
        for start in range(0, len(value), rows):
            part = slice(start, start + rows)
            v, g, m, s = value[part], gradient[part], first[part], second[part]
            m *= np.float32(MOMENTUM)
            m += g
            s *= np.float32(DECAY)
            g *= g
            s += g
            np.sqrt(s, out=g)
            g += np.float32(EPSILON / scale)
            np.divide(m, g, out=g)
            g *= rate
            v -= g

    def judge(self, X: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return accuracy (H,) and mean log loss (H,) in nats of standardized rows X (n, d)."""
        right, loss = np.zeros(len(self)), np.zeros(len(self))
        rows = max(1, CELLS // (self.classes * len(self)))
        for start in range(0, len(X), rows):
            z, code = self.logits(X[start : start + rows]), codes[start : start + rows]
            if z.shape[1] == 1:
                z = z[:, 0]
                right += ((z > 0) == (code == 1)[:, None]).sum(axis=0)
                z[code == 1] *= -1  # the loss is log(1 + exp(margin of the other class))
                loss += np.logaddexp(0, z).sum(axis=0, dtype=np.float64)
                continue
            peak = z.max(axis=1)
            right += (z.argmax(axis=1) == code[:, None]).sum(axis=0)
            true = z[np.arange(len(z)), code]
            total = np.exp(z - peak[:, None]).sum(axis=1)
            loss += (np.log(total) + peak - true).sum(axis=0, dtype=np.float64)
        return right / len(X), loss / len(X)
