"""What a cut saves on this machine, from a short probe: FLOPs mislead.

    segment 0 ─ cut ─ segment 1 ─ cut ─ ... ─ segment n ─▶ feature row
    forward of each, from the bottom; a training step of each, from the top down, while time is left

A cut's prefix runs forward only, and its suffix trains: t_prefix sums the forward passes below it,
t_suffix the steps above. What calling Keras costs, however little is computed, is measured with an
empty segment and taken off all but one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from finetune.boundary import Cut
from finetune.guard import assign, values_of
from finetune.network import Network

SECONDS = 10.0
"""Longest probe."""
BATCH = 16
"""Images of a probe's batch, at most."""
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds per image for one cut; None where the probe had no time for it."""

    prefix: float
    suffix: float | None
    read: float
    """Taking an image's activations from the cache."""

    @property
    def speedup(self) -> float | None:
        """How much faster an epoch is on kept activations."""
        if self.suffix is None:
            return None
        return (self.prefix + self.suffix) / (self.suffix + self.read)


class Segment(keras.Model):
    """A part of the backbone that trains by itself, its inputs' gradients included."""

    def __init__(self, body: keras.Model) -> None:
        super().__init__(name="segment")
        self.body = body

    def build(self, input_shape: Any) -> None:
        """Make what asks for the gradient of the inputs, as in the middle of a graph."""
        self.nudge = self.add_weight(shape=(), initializer="zeros", name="nudge")
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return one number per image (batch, 1)."""
        inputs = keras.tree.map_structure(lambda x: x + self.nudge, inputs)
        means = [
            keras.ops.mean(x, axis=tuple(range(1, len(x.shape))), keepdims=False)
            for x in keras.tree.flatten(self.body(inputs, training=False))
        ]
        return keras.ops.expand_dims(sum(means), -1)


def probe(
    network: Network, cuts: Sequence[Cut], batch_size: int, seconds: float = SECONDS
) -> dict[str, Costs]:
    """Time cuts on random pictures, with what trains now; the network is as it was afterwards.

    Args:
        network: The network.
        cuts: In any order.
        batch_size: Images of a step.
        seconds: After which no further segment is begun.

    Returns:
        Costs by the name of the cut.
    """
    deadline = time.perf_counter() + seconds
    rising = sorted(cuts, key=lambda cut: cut.position)
    count = min(batch_size, BATCH)
    variables = [*network.trunk.weights, *network.head.weights]
    before = values_of(variables)
    bodies = _segments(network, rising)
    size = network.built.image_size
    inputs: Any = np.random.default_rng(0).uniform(0, 255, (count, size, size, 3))
    inputs = inputs.astype(np.float32)
    forward, arrivals = [], []
    for body in bodies:
        arrivals.append(inputs)
        inputs, spent = _timed_forward(body, inputs)
        forward.append(spent)
    steps: list[float | None] = [None] * len(bodies)
    overhead = _step(_empty(), np.zeros((count, 1), np.float32))
    longest = 0.0
    for number in range(len(bodies) - 1, 0, -1):  # the lowest segment never trains
        begun = time.perf_counter()
        if begun + longest > deadline and number < len(bodies) - 1:
            break
        spent = _step(bodies[number], arrivals[number])
        steps[number] = max(spent - (overhead if number < len(bodies) - 1 else 0.0), 0.0)
        longest = max(longest, time.perf_counter() - begun)
    assign(variables, before)
    return {
        cut.name: Costs(
            prefix=sum(forward[: i + 1]) / count,
            suffix=_total(steps[i + 1 :], count),
            read=_read(cut, count),
        )
        for i, cut in enumerate(rising)
    }


def _total(steps: Sequence[float | None], count: int) -> float | None:
    known = [step for step in steps if step is not None]
    return sum(known) / count if len(known) == len(steps) else None


def _segments(network: Network, cuts: Sequence[Cut]) -> list[keras.Model]:
    """Return the parts below, between and above the cuts, from the bottom."""
    size = network.built.image_size
    pixels = keras.Input((size, size, 3), dtype="float32")
    if not cuts:
        return []
    bodies = [
        keras.Model(pixels, cuts[0].prefix(network)(network.preprocessing(pixels), training=False))
    ]
    for below, above in pairwise(cuts):
        bodies.append(
            network.between(below.tensors(network), above.tensors(network), "segment_body")
        )
    inputs = [keras.Input(shape, dtype="float32") for shape in cuts[-1].shapes]
    bare = inputs[0] if len(inputs) == 1 else inputs
    maps = cuts[-1].suffix(network)(bare, training=False)
    bodies.append(keras.Model(bare, network.head(network.features(maps))))
    return bodies


def _timed_forward(body: keras.Model, inputs: Any) -> tuple[Any, float]:
    """Return the outputs of a segment, bare where there is one, and seconds of a forward pass."""
    outputs = body.predict_on_batch(inputs)
    spent = _fastest(lambda: body.predict_on_batch(inputs))
    flat = keras.tree.flatten(outputs)
    return (flat[0] if len(flat) == 1 else flat), spent


def _step(body: keras.Model, inputs: Any) -> float:
    """Return seconds of a training step of a segment that changes nothing."""
    segment = Segment(body)
    count = len(keras.tree.flatten(inputs)[0])
    segment(keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape), inputs))
    optimizer = keras.optimizers.Adam(0.0)
    # Else TensorFlow would trace the first step twice.
    optimizer.build(segment.trainable_variables)
    segment.compile(
        optimizer=optimizer,
        loss="mean_squared_error",
        jit_compile=keras.backend.backend() == "jax",
    )
    targets = np.zeros((count, 1), np.float32)
    segment.train_on_batch(inputs, targets)  # traces
    return _fastest(lambda: segment.train_on_batch(inputs, targets))


def _empty() -> keras.Model:
    x = keras.Input((1,))
    return keras.Model(x, keras.layers.Identity()(x))


def _fastest(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _read(cut: Cut, count: int) -> float:
    """Return seconds per image to take activations from memory, at random, as float32."""
    kept = [np.zeros((4 * count, *shape), np.float16) for shape in cut.shapes]
    rows = np.random.default_rng(0).permutation(4 * count)[:count]
    return _fastest(lambda: [array[rows].astype(np.float32) for array in kept]) / count
