"""A stack of dense layers that Keras trains batch by batch, on any of its backends.

Tracing a training step takes longer than training a small head, so trainers are kept and lent
out again. One that is lent anew is as if new: its weights, the state of its optimizer and the
seeds of its dropout are all set. Which step is traced depends on a `Stack`, and on nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from heads.aims import Aim
from heads.optimizers import OptimizerPlan

KEPT = 16
"""Trainers that wait to be lent out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """All that decides the graph of a training step; equal stacks train in the same way."""

    width: int
    """Features of a row, d."""
    hidden: tuple[int, ...]
    """Units of each hidden layer."""
    outputs: int
    """1 for two classes, which one logit decides; else one per class, label or number."""
    activation: str
    """Of the hidden layers; a key of `heads.scoring.ACTIVATIONS`."""
    dropout: float
    """Share of each hidden layer that is dropped; of the features, where there is none."""
    label_smoothing: float
    """Share of each label that is spread over all classes."""
    focal: float
    """Exponent of the focal loss; 0 for cross-entropy."""
    dtype: str
    """Of weights and arithmetic: "float32" or "float64"."""
    optimizer: OptimizerPlan
    aim: Aim = "classes"

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape of each kernel, first layer first."""
        return list(pairwise([self.width, *self.hidden, self.outputs]))


class Trainer:
    """A stack as a compiled Keras model."""

    def __init__(self, stack: Stack) -> None:
        import keras

        self._stack = stack
        self._model = keras.Sequential(_layers(stack), name="head")
        self._optimizer = stack.optimizer.build()
        # Built here and not in the first step, which TensorFlow would then trace twice.
        self._optimizer.build(self._model.trainable_variables)
        self._slots = _first_values(self._optimizer, self._model)
        self._model.compile(
            optimizer=self._optimizer,
            loss=_loss(stack),
            # XLA takes seconds to compile for TensorFlow, and saves nothing at this size.
            jit_compile=keras.backend.backend() == "jax",
            auto_scale_loss=False,  # whatever the global dtype policy is
        )
        # Keras' own mean of the losses is not read, and to reset it takes a fifth of a step.
        self._model.reset_metrics = _nothing

    def reset(self, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray], seed: int) -> None:
        """Start anew from these weights."""
        weights = [array for layer in zip(kernels, biases, strict=True) for array in layer]
        for variable, array in zip(self._model.trainable_variables, weights, strict=True):
            variable.assign(array)
        for variable, value in zip(self._optimizer.variables, self._slots, strict=True):
            variable.assign(weights[value] if isinstance(value, int) else value)
        for number, state in enumerate(self._model.non_trainable_variables):  # seeds of dropout
            state.assign(np.array([(seed + number) % 2**32, 0], "uint32"))

    def step(self, x: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> None:
        """Train on one batch.

        Args:
            x: (b, d) standardized features.
            codes: (b,) int, the class of each row; or (b, classes) shares of each class; or
                (b, outputs) labels or numbers.
            weights: Of each row (b,), or of each label or number (b, outputs); the loss is the
                sum of what they weigh, divided by how many there are.
        """
        outputs = self._stack.outputs
        if self._stack.aim != "classes":
            targets = codes[:, :, None]
        elif codes.ndim == 2:
            targets = codes[:, 1:] if outputs == 1 else codes
        else:
            targets = codes[:, None] if outputs == 1 else np.eye(outputs)[codes]
        dtype = self._stack.dtype
        self._model.train_on_batch(
            x, targets.astype(dtype), sample_weight=weights.astype(dtype, copy=False)
        )

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return (kernels, biases) as they are now, first layer first."""
        arrays = self._model.get_weights()
        return arrays[::2], arrays[1::2]

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        import keras

        return float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))


_idle: OrderedDict[Stack, Trainer] = OrderedDict()


@contextmanager
def borrowed(stack: Stack) -> Iterator[Trainer]:
    """Lend a trainer, which nobody else then has; after an exception it is thrown away."""
    trainer = _idle.pop(stack, None) or Trainer(stack)
    yield trainer
    _idle[stack] = trainer
    while len(_idle) > KEPT:
        _idle.popitem(last=False)


def _nothing() -> None:
    """Do nothing."""


def _layers(stack: Stack) -> list[Any]:
    """Return layers whose names leave Keras' own counting of names as it is."""
    import keras

    layers = [keras.Input((stack.width,), name="features", dtype=stack.dtype)]
    for number, (_, units) in enumerate(stack.shapes):
        if stack.dropout and (number or not stack.hidden):
            name = f"dropout_{number}"
            layers.append(keras.layers.Dropout(stack.dropout, seed=0, name=name, dtype=stack.dtype))
        hidden = number < len(stack.hidden)
        layers.append(
            keras.layers.Dense(
                units,
                activation=_activation(stack.activation) if hidden else None,
                # Values with which no optimizer starts anything: see `_first_values`.
                kernel_initializer=keras.initializers.Constant(number + 0.25),
                bias_initializer=keras.initializers.Constant(number + 0.75),
                name=f"dense_{number}",
                dtype=stack.dtype,
            )
        )
    if stack.aim != "classes":
        # Keras' losses are means over the last axis: with one of length 1, outputs are weighed
        # one by one.
        layers.append(keras.layers.Reshape((stack.outputs, 1), name="apart", dtype=stack.dtype))
    return layers


def _activation(name: str) -> Any:
    """Return what `heads.scoring.ACTIVATIONS` computes, for Keras."""
    import keras

    if name == "gelu":
        return partial(keras.activations.gelu, approximate=True)
    return getattr(keras.activations, name)


def _loss(stack: Stack) -> Any:
    import keras

    names = keras.losses
    if stack.aim == "numbers":
        return names.MeanSquaredError(dtype=stack.dtype)
    options = {
        "from_logits": True,
        "label_smoothing": stack.label_smoothing,
        "dtype": stack.dtype,
    }
    two = stack.aim == "labels" or stack.outputs == 1
    if not stack.focal:
        return (names.BinaryCrossentropy if two else names.CategoricalCrossentropy)(**options)
    # Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; alpha is class_weight.
    options["gamma"] = stack.focal
    if two:
        return names.BinaryFocalCrossentropy(**options)
    return names.CategoricalFocalCrossentropy(alpha=1.0, **options)


def _first_values(optimizer: Any, model: Any) -> list[np.ndarray | int]:
    """Return what each variable of a new optimizer holds: an array, or the weight it copies.

    ScheduleFreeAdamW starts from copies of the weights; they are found by their values.
    """
    import keras

    weights = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    found: list[np.ndarray | int] = []
    for variable in optimizer.variables:
        value = np.array(keras.ops.convert_to_numpy(variable))
        copied = [i for i, weight in enumerate(weights) if np.array_equal(weight, value)]
        found.append(copied[0] if copied else value)
    return found
