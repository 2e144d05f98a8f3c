"""Views of an image: an augmentation, run on pixels, with a seed made of image key and view.

    pixels (size, size, 3) ─ operation 1 ─▶ ... ─ operation n ─▶ (size, size, 3) float32 in 0..255

View 0 is the plain picture. What is drawn for the others follows from the image's key, the number
of the view and the names in the augmentation, by SHA-256: never from order, workers, restarts or
the version of a library. Geometry and arithmetic are those of the Keras layers that
`Operation.keras_layers` names, with their reflected edges and bilinear interpolation.

This module knows arrays; it knows nothing of stores, files or backbones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from extract.augment import (
    FLIP_PROBABILITY,
    GREY_LEVELS,
    Augmentation,
    Operation,
    crop_start,
)

Drawn = Mapping[str, float]
"""Parameter → what was drawn for it; see `Operation.draws`."""

_MIRROR = {"horizontal": 1, "vertical": 0, "horizontal_and_vertical": -1}
"""A flip's mode in OpenCV's words."""


def make_view(
    pixels: np.ndarray, augmentation: Augmentation, image_key: str, view: int
) -> np.ndarray:
    """Return one view of a picture.

    Args:
        pixels: (size, size, 3) uint8 or float32 in 0..255; left as it is.
        augmentation: What is done to it.
        image_key: SHA-256 of the image's bytes, 64 hex characters.
        view: Number of the view; 0 is the picture itself.

    Returns:
        (size, size, 3) float32.
    """
    pixels = pixels.astype(np.float32, copy=False)
    if view:
        for operation in augmentation.operations:
            pixels = apply(operation, pixels, draw(operation, image_key, view))
    return pixels


def draw(operation: Operation, image_key: str, view: int) -> Drawn:
    """Return what a view of an image has drawn for an operation.

    The same image and view draw the same shares of a range, whatever its width and whatever other
    operations stand beside it.
    """
    return {
        parameter: low + (high - low) * _share(f"{image_key}:{view}:{operation.name}:{parameter}")
        for parameter, (low, high) in operation.draws.items()
    }


def _share(name: str) -> float:
    """Return a number in [0, 1), evenly spread over names: 53 bits, all that a float holds."""
    digest = hashlib.sha256(name.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def apply(operation: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Return (size, size, 3) float32: `pixels`, likewise, after one operation."""
    return _APPLY[operation.name](operation, pixels, drawn)


def _flip(operation: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    if drawn["flip"] > FLIP_PROBABILITY:
        return pixels
    return cv2.flip(pixels, _MIRROR[str(operation.value)])


def _rotate(_: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    angle, middle = math.radians(drawn["angle"]), (len(pixels) - 1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    shift = middle * (1 - cos)
    return _warp(pixels, [[cos, -sin, shift + middle * sin], [sin, cos, shift - middle * sin]])


def _zoom(_: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    zoom, middle = drawn["zoom"], (len(pixels) - 1) / 2
    shift = middle * (1 - zoom)
    return _warp(pixels, [[zoom, 0, shift], [0, zoom, shift]])


def _translate(_: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    size = len(pixels)
    return _warp(pixels, [[1, 0, -drawn["right"] * size], [0, 1, -drawn["down"] * size]])


def _warp(pixels: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    """Return the picture whose pixel (x, y) is the given one at `matrix @ (x, y, 1)`.

    OpenCV 5 is within 0.01 grey levels of Keras; OpenCV 4 rounds positions to 1/32 pixel.
    """
    size = len(pixels)
    return cv2.warpAffine(
        pixels,
        np.array(matrix),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )


def _crop(operation: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    size = len(pixels)
    side = operation.crop_side(size)
    top, left = (crop_start(drawn[name], size, side) for name in ("top", "left"))
    window = pixels[top : top + side, left : left + side]
    return cv2.resize(window, (size, size), interpolation=cv2.INTER_LINEAR)


def _contrast(_: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    mean = np.array(cv2.mean(pixels)[:3], np.float32)
    changed = (pixels - mean) * np.float32(drawn["contrast"]) + mean
    return np.clip(changed, 0, GREY_LEVELS, out=changed)


def _brighten(_: Operation, pixels: np.ndarray, drawn: Drawn) -> np.ndarray:
    changed = pixels + np.float32(drawn["brightness"])
    return np.clip(changed, 0, GREY_LEVELS, out=changed)


_APPLY: Mapping[str, Callable[[Operation, np.ndarray, Drawn], np.ndarray]] = {
    "flip": _flip,
    "rotation": _rotate,
    "zoom": _zoom,
    "translation": _translate,
    "crop": _crop,
    "contrast": _contrast,
    "brightness": _brighten,
}
