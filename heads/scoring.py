"""A fitted head as arrays: features in, logits out, with NumPy alone.

Every head ends here, whoever trained it: `model.py` saves these arrays, `predict.py` and a packed
folder compute with them, `join.py` turns them into Keras layers. Nothing but NumPy is imported,
so that predicting starts in a fraction of a second.

    dense       x @ kernel_0 + bias_0, activation, x @ kernel_1 + bias_1, ...; a linear head has one
    prototype   scale * cosine(x - center, prototype of each class)
    neighbors   log of the share of each class among the nearest rows, by cosine
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

CELLS = 2**24
"""Cosines that are held at once, 64 MB, so that memory does not grow with the data set."""


class Scorer(ABC):
    """Features (n, d) to logits (n, classes); what a model on disk holds."""

    kind: ClassVar[str]

    @abstractmethod
    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes) float32 for X (n, d) float32; softmax of them is a probability.

        Two classes have two columns, of which the first is 0 where one logit decides.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs, for an npz file."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Self:
        """Rebuild what `arrays` and `facts` described.

        Raises:
            KeyError, ValueError: If an array is missing or has an impossible shape.
        """

    def facts(self) -> dict[str, object]:
        """Return what is not an array, as JSON values."""
        return {}


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _silu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(0.5 * x))  # exp(-x) would overflow far below 0


def _gelu(x: np.ndarray) -> np.ndarray:
    # The form with tanh, which is `keras.activations.gelu(x, approximate=True)`.
    with np.errstate(over="ignore"):  # tanh of infinity is 1
        inner = np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner))


ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": _relu,
    "silu": _silu,
    "gelu": _gelu,
    "tanh": np.tanh,
}
"""Names as `keras.activations` has them; `gelu` is the approximate form."""


@dataclass(frozen=True, eq=False)
class Dense(Scorer):
    """A stack of affine maps; the last one gives one logit for two classes, else one a class."""

    kind: ClassVar[str] = "dense"

    kernels: tuple[np.ndarray, ...]
    """(d, k), (k, l), ... float32, as Keras keeps them."""
    biases: tuple[np.ndarray, ...]
    """(k,), (l,), ... float32."""
    activation: str = "linear"
    """Between the maps; a key of `ACTIVATIONS`."""

    def __post_init__(self) -> None:
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
                raise ValueError(f"kernel {kernel.shape} does not go with bias {bias.shape}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}")

    @classmethod
    def linear(cls, coef: np.ndarray, intercept: np.ndarray) -> Self:
        """Take scikit-learn's `coef_` (classes or 1, d) and `intercept_`."""
        kernel = np.ascontiguousarray(np.atleast_2d(coef).T, np.float32)
        bias = np.broadcast_to(np.asarray(intercept, np.float32), kernel.shape[1:]).copy()
        return cls((kernel,), (bias,))

    def logits(self, X: np.ndarray) -> np.ndarray:
        x = np.asarray(X, np.float32)
        for number, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = (ACTIVATIONS[self.activation](x) if number else x) @ kernel + bias
        return two_columns(x)

    def arrays(self) -> dict[str, np.ndarray]:
        named = {f"kernel_{i}": kernel for i, kernel in enumerate(self.kernels)}
        return named | {f"bias_{i}": bias for i, bias in enumerate(self.biases)}

    def facts(self) -> dict[str, object]:
        return {"activation": self.activation, "layers": len(self.kernels)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Self:
        layers = range(int(str(facts["layers"])))
        return cls(
            tuple(arrays[f"kernel_{i}"] for i in layers),
            tuple(arrays[f"bias_{i}"] for i in layers),
            str(facts["activation"]),
        )


@dataclass(frozen=True, eq=False)
class Prototype(Scorer):
    """Cosine to one direction per class, times a scale."""

    kind: ClassVar[str] = "prototype"

    center: np.ndarray
    """(d,) float32, subtracted first."""
    prototypes: np.ndarray
    """(classes, d) float32, each of norm 1."""
    scale: float

    def logits(self, X: np.ndarray) -> np.ndarray:
        return self.scale * (unit(np.asarray(X, np.float32) - self.center) @ self.prototypes.T)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"center": self.center, "prototypes": self.prototypes}

    def facts(self) -> dict[str, object]:
        return {"scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Self:
        return cls(arrays["center"], arrays["prototypes"], float(str(facts["scale"])))


@dataclass(frozen=True, eq=False)
class Neighbors(Scorer):
    """The share of each class among the nearest training rows, by cosine."""

    kind: ClassVar[str] = "neighbors"

    rows: np.ndarray
    """(m, d) float32, each of norm 1 after `center` was subtracted."""
    codes: np.ndarray
    """(m,) int64, the class of each row."""
    center: np.ndarray
    """(d,) float32."""
    num_neighbors: int
    classes: int

    def logits(self, X: np.ndarray) -> np.ndarray:
        votes = np.empty((len(X), self.classes), np.float32)
        step = max(1, CELLS // len(self.rows))
        for start in range(0, len(X), step):
            votes[start : start + step] = self._votes(X[start : start + step])
        # One more vote, spread over the classes, so that no logit is infinite (Laplace).
        voters = min(self.num_neighbors, len(self.rows))
        return np.log((votes + np.float32(1 / self.classes)) / (voters + 1))

    def _votes(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes) int64: how many of the nearest rows are of each class."""
        cosines = unit(np.asarray(X, np.float32) - self.center) @ self.rows.T  # (n, m)
        query, row = nearest(cosines, self.num_neighbors)
        cells = query * self.classes + self.codes[row]
        return np.bincount(cells, minlength=len(X) * self.classes).reshape(len(X), self.classes)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows, "codes": self.codes, "center": self.center}

    def facts(self) -> dict[str, object]:
        return {"num_neighbors": self.num_neighbors, "classes": self.classes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Self:
        return cls(
            arrays["rows"],
            arrays["codes"],
            arrays["center"],
            int(str(facts["num_neighbors"])),
            int(str(facts["classes"])),
        )


SCORERS: dict[str, type[Scorer]] = {scorer.kind: scorer for scorer in (Dense, Prototype, Neighbors)}


def two_columns(logits: np.ndarray) -> np.ndarray:
    """Return logits with one column per class: (n, 1) becomes (n, 2), whose first is 0."""
    if logits.shape[1] != 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=1)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities (n, classes), float64, of logits divided by `temperature` > 0."""
    z = np.asarray(logits, np.float64) / temperature
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def answers(logits: np.ndarray, task: str, temperature: float, names: int) -> np.ndarray:
    """Return what logits say, (n, names) float64.

    Probabilities of classes, which sum to 1; of labels, each by itself; or numbers as they are.
    """
    if task == "classification":
        return softmax(logits, temperature)
    z = np.asarray(logits[:, -names:], np.float64)  # one output stands beside a 0
    if task == "regression":
        return z
    return 0.5 * (1 + np.tanh(0.5 * z / temperature))  # exp(-z) would overflow far below 0


def unit(X: np.ndarray) -> np.ndarray:
    """Return rows of norm 1; a row of zeros stays one."""
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norm > 0, norm, 1)


def nearest(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the `count` largest of each row are, as row and column indices.

    Both are (n * count,) int64, in row-major order; ties at the edge go to the lower columns. The
    order within a row is not by size: that would take ten times as long.
    """
    columns = values.shape[1]
    count = min(count, columns)
    edge = np.partition(values, columns - count, axis=1)[:, columns - count]
    row, column = np.nonzero(values >= edge[:, None])
    if len(row) > count * len(values):  # some rows have ties at their edge
        tie = values[row, column] == edge[row]
        num_ties = np.bincount(row[tie], minlength=len(values))
        num_above = np.bincount(row[~tie], minlength=len(values))
        before = np.cumsum(num_ties) - num_ties  # ties of the rows above
        rank = np.cumsum(tie) - 1 - before[row]  # of each tie, among those of its row
        kept = ~tie | (rank < count - num_above[row])
        row, column = row[kept], column[kept]
    return row, column


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return columns of the `count` largest of each row, largest first; ties go by index."""
    count = min(count, values.shape[1])
    if count < values.shape[1]:
        # A tie at the edge is settled by index: everything above the edge, then the first of it.
        edge = -np.partition(-values, count - 1, axis=1)[:, count - 1 : count]
        rank = np.where(values > edge, -values, np.where(values == edge, -edge, np.inf))
    else:
        rank = -values
    return np.argsort(rank, axis=1, kind="stable")[:, :count]
