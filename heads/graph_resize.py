"""The resize of `extract.resize` as a Keras graph: float32 images of any size become squares.

The default policy is `keras.layers.Resizing` itself. It cannot serve all others: with antialias,
or bicubic, it converts to none of ONNX, OpenVINO and LiteRT, and with padding OpenVINO makes
infinity of a picture of one pixel. So they are two products with interpolation matrices, as in
`extract.resize`, built in the graph for the size that arrives:

    picture (h, w) ─▶ rows (size, h) @ picture @ columns (w, size) ─▶ (size, size), each channel

Every operation is one of `keras.ops`, so that the graph is saved, loaded and converted without
code of ours. Positions come from a running sum over ones, because no operation of Keras counts up
to a length that is known only when an image arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from extract.recipe import PixelPolicy

if TYPE_CHECKING:
    import keras


def resize(pixels: keras.KerasTensor, policy: PixelPolicy) -> keras.KerasTensor:
    """Return `pixels` as squares of side `policy.image_size`.

    Args:
        pixels: (batch, h, w, 3) float32, h and w at least 1 and known only at run time.
        policy: Size, interpolation, antialias, and what is done about the aspect ratio.

    Returns:
        (batch, image_size, image_size, 3) float32.
    """
    import keras

    size = policy.image_size
    if policy == PixelPolicy(image_size=size, exif_orientation=policy.exif_orientation):
        return keras.layers.Resizing(size, size, name="resize")(pixels)
    rows = _matrix(pixels[0, :, 0, 0], pixels[0, 0, :, 0], policy)
    columns = _matrix(pixels[0, 0, :, 0], pixels[0, :, 0, 0], policy)
    planes = keras.ops.transpose(pixels, (0, 3, 1, 2))
    planes = keras.ops.matmul(keras.ops.matmul(rows, planes), keras.ops.transpose(columns))
    return keras.ops.transpose(planes, (0, 2, 3, 1))


def _matrix(
    along: keras.KerasTensor, across: keras.KerasTensor, policy: PixelPolicy
) -> keras.KerasTensor:
    """Return (size, n) float32: the matrix for the axis that the n pixels of `along` lie on.

    `across` are pixels of the other axis; only how many there are matters of either.
    """
    import keras

    ones = keras.ops.ones_like(along)
    length, other = keras.ops.sum(ones), keras.ops.sum(keras.ops.ones_like(across))
    at = keras.ops.cumsum(ones) - 1.0  # 0, 1, 2, ...
    if policy.crop_to_aspect_ratio:
        source = keras.ops.minimum(length, other)
        at = at - keras.ops.floor((length - source) * 0.5)
        return _normalized(_weights(at, source, policy))
    if policy.pad_to_aspect_ratio:
        # The same number of zeros on both sides, so an odd difference leaves one pixel out.
        before = keras.ops.floor((keras.ops.maximum(length, other) - length) * 0.5)
        source = length + 2.0 * before
        # More than `source` positions, the picture's and those of the zeros around it.
        ones = keras.ops.concatenate([ones, keras.ops.ones_like(across)])
        everywhere = _weights(keras.ops.cumsum(ones) - 1.0, source, policy)
        return _weights(at + before, source, policy) / _sums(everywhere)
    return _normalized(_weights(at, length, policy))


def _weights(
    at: keras.KerasTensor, source: keras.KerasTensor, policy: PixelPolicy
) -> keras.KerasTensor:
    """Return (size, n): how much each of `source` pixels counts for each target pixel.

    Rows do not sum to 1 yet. Positions `at` (n,) outside 0 to `source` - 1 have weight 0. The
    order of operations is that of `extract.resize`, whose positions are float32 as well.
    """
    import keras

    targets = np.arange(policy.image_size, dtype=np.float32)[:, None] + np.float32(0.5)
    scale = source / float(policy.image_size)
    center = scale * targets  # (size, 1)
    inside = keras.ops.cast(at >= 0.0, "float32") * keras.ops.cast(at < source, "float32")
    if policy.interpolation == "nearest":
        nearest = keras.ops.minimum(keras.ops.floor(center), source - 1.0)
        return keras.ops.cast(keras.ops.equal(at, nearest), "float32")
    if policy.interpolation == "bicubic" and not policy.antialias:
        center = _on_table(center)
    distance = keras.ops.absolute(at + 0.5 - center)
    if policy.antialias:
        distance = distance / keras.ops.maximum(scale, 1.0)
    kernel = _triangle if policy.interpolation == "bilinear" else _keys_cubic
    return kernel(distance) * inside


def _normalized(weights: keras.KerasTensor) -> keras.KerasTensor:
    return weights / _sums(weights)


def _sums(weights: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    return keras.ops.sum(weights, axis=1, keepdims=True)


def _on_table(center: keras.KerasTensor) -> keras.KerasTensor:
    """Return positions as TensorFlow's bicubic sees them, in steps of 1/1024 pixel."""
    import keras

    at = center - 0.5
    below = keras.ops.floor(at)
    return below + keras.ops.round((at - below) * 1024.0) / 1024.0 + 0.5


def _triangle(distance: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    return keras.ops.maximum(1.0 - distance, 0.0)


def _keys_cubic(distance: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    beyond = keras.ops.where(distance < 2.0, far, 0.0)
    return keras.ops.where(distance < 1.0, near, beyond)
