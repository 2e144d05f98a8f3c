"""Whether pixels reach a user's backbone in the scale that it was trained on.

Two looks at the graph, where its author and `--preprocessing` may disagree. First a table of rules
over its first operations: what they do to 0 and to 255, and where preprocessing comes twice. Then
the statistics of the first BatchNormalization: they are those of what it was trained on, so the
probes, scaled rightly, have about their variance too (ten thousand times that where a model for
-1..1 gets 0..255). A model without that layer, or one that was never trained, cannot tell.

Images that somebody has divided by 255 before they were saved are told by their brightest pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.errors import BackboneError, ScaleError
from extract.preprocessing import PREPROCESSING, applied, parse_preprocessing
from extract.recipe import Preprocessing

if TYPE_CHECKING:
    import keras

SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")
TRANSPARENT = (
    *("InputLayer", "Identity", "Cast", "ZeroPadding2D", "Resizing", "CenterCrop", "Dropout"),
    *("GaussianNoise", "Flip", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation"),
    *("RandomCrop", "RandomContrast", "RandomBrightness"),
)
"""Operations that come before the first weights, and leave a plain image's values as they are."""

NARROW = 0.1
"""A range of 0..255 that is narrower than this was divided twice: 1/127.5 of 0..1 is 0.008."""
FAR = 30.0
"""Times that the variance of what a BatchNormalization sees may be off. The probes are not what it
was trained on: 0.3 to 0.5 measured on MobileNets with real weights, and 6000 with a wrong scale."""
CANDIDATES = ("none", "tf", "torch", "caffe", "mean=0,std=1")
"""What `--preprocessing` might be instead; the last one is a division by 255."""

FIRST_IMAGES = 8
"""So many images in a row without a pixel above 1 are no coincidence."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a graph begins: the operations that scale, and the first that does something else."""

    layers: tuple[str, ...]
    tensor: Any
    """What the last of them gives."""
    reached: str
    """Name of the operation that comes after them."""


def check_scaling(path: Path, model: keras.Model, steps: Preprocessing, probes: np.ndarray) -> None:
    """Raise `BackboneError`, with the cure, if a model would see pixels in a wrong scale.

    Args:
        path: Its file, for the message.
        model: Flat, from images (batch, size, size, 3).
        steps: What will be done to pixels before the model.
        probes: The synthetic probes, (n, size, size, 3) float32 in 0..255.
    """
    start = _start(model)
    if start.layers and steps != PREPROCESSING["none"]:
        raise BackboneError(
            f"{path} scales pixels itself, in layer {start.layers[0]!r}: with --preprocessing they "
            f"would be scaled twice. Leave --preprocessing out"
        )
    _check_range(path, model, start, probes.shape[1], steps)
    _check_statistics(path, model, start, steps, probes)


def _start(model: keras.Model) -> Start:
    """Follow a graph from its input as long as there is one way and nothing but scaling."""
    nodes, tensor = _nodes(model), model.inputs[0]
    layers: list[str] = []
    while True:
        after = [(op, node) for op, node in nodes if any(x is tensor for x in node.input_tensors)]
        if len(after) != 1:
            return Start(tuple(layers), tensor, after[0][0].name if after else "")
        operation, node = after[0]
        kind = type(operation).__name__
        if kind not in SCALING + TRANSPARENT or len(node.input_tensors) != 1:
            return Start(tuple(layers), tensor, operation.name)
        if kind in SCALING:
            layers.append(operation.name)
        tensor = node.output_tensors[0]


def _check_range(
    path: Path, model: keras.Model, start: Start, size: int, steps: Preprocessing
) -> None:
    flat = np.stack([np.full((size, size, 3), level, np.float32) for level in (0, 255)])
    low, high = _run(model, start.tensor, applied(flat, steps))
    center = tuple(side // 2 for side in low.shape[:2])  # padding leaves it alone
    width = float(np.abs(high[center] - low[center]).max())
    if width < NARROW:
        ends = sorted((float(low[center].min()), float(high[center].max())))
        raise BackboneError(
            f"Pixels reach layer {start.reached!r} of {path} between {ends[0]:.4g} and "
            f"{ends[1]:.4g}: they are scaled twice, in {', '.join(start.layers)}. Keep one "
            f"scaling, and save the model again"
        )


def _check_statistics(
    path: Path, model: keras.Model, start: Start, steps: Preprocessing, probes: np.ndarray
) -> None:
    found = _first_statistics(model)
    if found is None:
        return
    name, tensor, variance = found
    varied = probes[probes.std(axis=(1, 2, 3)) > 1]  # a plain image says nothing of variances

    def ratio(candidate: Preprocessing) -> float:
        seen = _run(model, tensor, applied(varied, candidate)).astype(np.float64)
        return float(np.median(seen.var(axis=tuple(range(seen.ndim - 1))) / variance))

    now = ratio(steps)
    if 1 / FAR <= now <= FAR:
        return
    seen = f"{now:.3g} times the variance that layer {name!r} of {path} was trained on"
    if start.layers:
        raise BackboneError(
            f"The probes have {seen}: the model expects other pixels than its layer "
            f"{start.layers[-1]!r} gives. Save it with the scaling that it was trained with"
        )
    fits = [c for c in CANDIDATES if 1 / FAR <= ratio(parse_preprocessing(c)) <= FAR]
    if fits:
        cure = "Leave --preprocessing out, or give" if "none" in fits else "Give"
        named = " or ".join(text for text in fits if text != "none")
        raise BackboneError(
            f"The probes have {seen}: pixels have a wrong scale. {cure} --preprocessing {named}, "
            f"as it was trained"
        )


def _first_statistics(model: keras.Model) -> tuple[str, Any, np.ndarray] | None:
    """Return the first BatchNormalization: its name, what it takes, its variance per channel.

    None if there is none, or if it was never trained.
    """
    inputs = {operation: node.input_tensors for operation, node in _nodes(model)}
    for operation in model.operations:
        if type(operation).__name__ != "BatchNormalization":
            continue
        variance = np.asarray(operation.moving_variance, np.float64)
        if operation.axis not in (-1, 3) or (variance == 1).all():
            return None
        return operation.name, inputs[operation][0], variance + 1e-6
    return None


def _nodes(model: keras.Model) -> list[tuple[Any, Any]]:
    """Return every call of an operation in this graph; a layer may be in other graphs too."""
    found: dict[tuple[int, int], tuple[Any, Any]] = {}
    tensors = list(model.outputs)
    while tensors:
        operation, index, _ = tensors.pop()._keras_history
        if (id(operation), index) not in found:
            node = operation._inbound_nodes[index]
            found[id(operation), index] = (operation, node)
            tensors += node.input_tensors
    return list(found.values())


def _run(model: keras.Model, tensor: Any, images: np.ndarray) -> np.ndarray:
    import keras

    if tensor is model.inputs[0]:
        return images
    return np.asarray(
        keras.ops.convert_to_numpy(keras.Model(model.input, tensor)(images, training=False))
    )


class Brightness:
    """Looks at the first images of a run, for such as were divided by 255 before."""

    def __init__(self, decided: bool = False) -> None:
        self._count, self._brightest = FIRST_IMAGES if decided else 0, 0.0

    @property
    def decided(self) -> bool:
        """Whether no further image can be refused."""
        return self._count == FIRST_IMAGES or self._brightest > 1

    def check(self, pixels: np.ndarray) -> None:
        """Take one good image, (size, size, 3) in 0..255.

        Raises:
            ScaleError: If none of the first `FIRST_IMAGES` has a pixel above 1.
        """
        if self.decided:
            return
        self._count += 1
        self._brightest = max(self._brightest, float(pixels.max()))
        if self._count == FIRST_IMAGES and 0 < self._brightest <= 1:
            raise ScaleError(
                f"The first {self._count} images have no pixel above {self._brightest:g}: they "
                f"were divided by 255 already. Give the images themselves, with pixels in 0..255"
            )
