"""What a cut saves on this machine, from a short probe: FLOPs mislead.

    segment 0 ─ cut ─ segment 1 ─ cut ─ ... ─ segment n ─▶ feature row
    a forward pass of each; a training step of each, from the top down, while time is left

A cut's prefix runs forward only, and its suffix trains: t_prefix sums the forward passes below it,
t_suffix the steps above. What calling Keras costs, however little is computed, is measured with an
empty segment and taken off all of them; a step has it once. Segments take turns, so that a machine
that is busy for a second slows all, and the median turn of each counts: the fastest would flatter
short segments, which fit into moments in which others are still.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
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
BATCH = 32
"""Images of a probe's batch, at most."""
TRACING = 0.7
"""Share of the time after which no further segment is traced."""
TURNS = 8
"""Of each segment, at most: fewer where time runs out."""

Work = Callable[[], Any]


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
        seconds: Of all of it; the topmost step, and one turn, are taken in any case.

    Returns:
        Costs by the name of the cut.
    """
    begun = time.perf_counter()
    rising = sorted(cuts, key=lambda cut: cut.position)
    count = min(batch_size, BATCH)
    variables = [*network.trunk.weights, *network.head.weights]
    before = values_of(variables)
    bodies = _segments(network, rising)
    size = network.built.image_size
    inputs: Any = np.random.default_rng(0).uniform(0, 255, (count, size, size, 3))
    inputs = _tensors(inputs.astype(np.float32))
    arrivals = []
    for body in bodies:
        arrivals.append(inputs)
        inputs = _tensors(body.predict_on_batch(inputs))  # traces
    forwards = [_forward(body, x) for body, x in zip(bodies, arrivals, strict=True)]
    steps = _steps(bodies, arrivals, begun + TRACING * seconds)
    nothing = _tensors(np.zeros((count, 1), np.float32))
    works = [*forwards, *steps.values(), _forward(_empty(), nothing), _step(_empty(), nothing)]
    spent = _typical(works, begun + seconds)
    assign(variables, before)
    *spent, calling, stepping = spent
    forward = [max(seconds - calling, 0.0) / count for seconds in spent[: len(bodies)]]
    trained = {
        number: max(seconds - stepping, 0.0) / count
        for number, seconds in zip(steps, spent[len(bodies) :], strict=True)
    }
    return {
        cut.name: Costs(
            prefix=sum(forward[: i + 1]),
            suffix=_suffix(range(i + 1, len(bodies)), trained, stepping / count),
            read=_read(cut, count),
        )
        for i, cut in enumerate(rising)
    }


def _suffix(numbers: range, trained: Mapping[int, float], stepping: float) -> float | None:
    """Return what a step of segments costs per image; None where one was not timed."""
    if any(number not in trained for number in numbers):
        return None
    return stepping + sum(trained[number] for number in numbers)


def _steps(
    bodies: Sequence[keras.Model], arrivals: Sequence[Any], deadline: float
) -> dict[int, Work]:
    """Return what takes a training step, by segment: from the top down, while there is time.

    The lowest segment never trains, and the topmost is always there.
    """
    found: dict[int, Work] = {}
    longest, top = 0.0, len(bodies) - 1
    for number in range(top, 0, -1):
        begun = time.perf_counter()
        if number < top and begun + longest > deadline:
            break
        found[number] = _step(bodies[number], arrivals[number])
        longest = max(longest, time.perf_counter() - begun)
    return found


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


def _tensors(arrays: Any) -> Any:
    """Return arrays as tensors, bare where there is one: `fit` copies them beside its work."""
    flat = [keras.ops.convert_to_tensor(array) for array in keras.tree.flatten(arrays)]
    return flat[0] if len(flat) == 1 else flat


def _forward(body: keras.Model, inputs: Any) -> Work:
    """Return what runs a segment forward, traced."""
    body.predict_on_batch(inputs)
    return lambda: body.predict_on_batch(inputs)


def _step(body: keras.Model, inputs: Any) -> Work:
    """Return what takes a training step of a segment that changes nothing, traced."""
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
    segment.train_on_batch(inputs, targets)
    return lambda: segment.train_on_batch(inputs, targets)


def _empty() -> keras.Model:
    x = keras.Input((1,))
    return keras.Model(x, keras.layers.Identity()(x))


def _typical(works: Sequence[Work], deadline: float) -> list[float]:
    """Return the seconds of the median turn of each; one turn at least, and no late ones."""
    turns: list[list[float]] = []
    begun = last = time.perf_counter()
    while not turns or (len(turns) < TURNS and last + (last - begun) / len(turns) <= deadline):
        turns.append([])
        for work in works:
            work()
            now = time.perf_counter()
            turns[-1].append(now - last)
            last = now
    return [statistics.median(seconds) for seconds in zip(*turns, strict=True)]


def _read(cut: Cut, count: int) -> float:
    """Return seconds per image to take activations from memory, at random, as float32."""
    kept = [np.zeros((4 * count, *shape), np.float16) for shape in cut.shapes]
    rows = np.random.default_rng(0).permutation(4 * count)[:count]
    work = [lambda: [array[rows].astype(np.float32) for array in kept]]
    return _typical(work, math.inf)[0] / count
