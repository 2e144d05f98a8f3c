"""Pictures become float32 squares, and no value is ever rounded.

The words are those of `keras.layers.Resizing` and the numbers those of its TensorFlow backend
on float32 input, so that a joined model which resizes by itself gives the same features.
Two ways lead there:

    bilinear, no antialias, no padding   OpenCV, on float32: the fast road, and the default
    all else                             a sparse matrix for the rows, another for the columns

This module knows arrays and policies; it knows nothing of bytes, formats or files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from extract.recipe import Interpolation, PixelPolicy

if TYPE_CHECKING:
    from scipy.sparse import csr_array  # type: ignore[import-untyped, unused-ignore]

TALL = 4
"""A picture of more than TALL times the target's rows has the rows it needs picked first."""


def resize(pixels: np.ndarray, policy: PixelPolicy) -> np.ndarray:
    """Return `pixels` as a square of side `policy.image_size`.

    Args:
        pixels: (h, w, 3) uint8, h and w at least 1.
        policy: Size, interpolation, antialias, and what is done about the aspect ratio.

    Returns:
        (image_size, image_size, 3) float32, C-contiguous, a new array. Values lie in 0..255,
        except that bicubic overshoots at edges, as Keras' does.
    """
    size = policy.image_size
    if policy.crop_to_aspect_ratio:
        pixels = _crop_to_square(pixels, size)
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels.astype(np.float32, order="C")
    padded_height, padded_width = height, width
    if policy.pad_to_aspect_ratio:
        padded_height, padded_width = _padded(height, width, size), _padded(width, height, size)
    if (padded_height, padded_width) == (height, width) and _is_plain_bilinear(policy):
        return _resize_bilinear(pixels, size)
    kernel = policy.interpolation, policy.antialias
    rows = _along_rows(_sparse_matrix(padded_height, size, *kernel), pixels)
    columns = _along_rows(_sparse_matrix(padded_width, size, *kernel), cv2.transpose(rows))
    return cv2.transpose(columns)


def interpolation_matrix(
    source: int, target: int, interpolation: Interpolation, antialias: bool = False
) -> np.ndarray:
    """Return the matrix that resizes one axis: `matrix @ column` for a column of `source` pixels.

    A picture (h, w) becomes `rows @ picture @ columns.T`, with one matrix for each axis.

    Args:
        source: Pixels along the axis, at least 1.
        target: Pixels wanted, at least 1.
        interpolation: Kernel, on half-pixel centers: pixel i lies at i + 0.5.
        antialias: Whether the kernel widens by source / target where that is above 1; without
            effect on "nearest".

    Returns:
        (target, source) float32; each row sums to 1.

    Source: TensorFlow's kernels resize_bilinear_op.cc, resize_nearest_neighbor_op.cc and
    resize_bicubic_op.cc (without antialias), scale_and_translate_op.cc (with it). Bicubic is
    R. G. Keys, Cubic convolution interpolation for digital image processing, IEEE Transactions
    on Acoustics, Speech and Signal Processing 29 (1981), with a = -1/2.
    """
    matrix = _sparse_matrix(source, target, interpolation, antialias)
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _is_plain_bilinear(policy: PixelPolicy) -> bool:
    return policy.interpolation == "bilinear" and not policy.antialias


def _resize_bilinear(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return (size, size, 3) float32; OpenCV is within 3e-5 grey levels of exact arithmetic."""
    picked = _pick_rows(pixels, size) if len(pixels) > TALL * size else pixels.astype(np.float32)
    return cv2.resize(picked, (size, size), interpolation=cv2.INTER_LINEAR)


def _pick_rows(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return (size, w, 3) float32, already resized along the rows.

    No more than 2 * size rows take part, and only they become float32. A photo of 2592 x 1944
    pixels is resized in 2.7 ms that way, and in 9.4 ms where all of it becomes float32; the
    largest square picture allowed needs 0.1 GB that way, and 2 GB otherwise.
    """
    at = (np.arange(size) + 0.5) * (len(pixels) / size) - 0.5  # > 0, because the picture is tall
    top = np.floor(at).astype(np.intp)
    weight = (at - top).astype(np.float32)[:, None, None]
    upper = pixels[top].astype(np.float32)
    return upper + (pixels[top + 1] - upper) * weight


def _crop_to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    new_height = max(min(height, _scaled(width, size)), 1)
    new_width = max(min(width, _scaled(height, size)), 1)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return pixels[top : top + new_height, left : left + new_width]


def _padded(length: int, other: int, size: int) -> int:
    """Return `length` after Keras' padding: the same number of zeros on both sides.

    So an odd difference leaves the padded picture one pixel short of a square.
    """
    return length + (max(length, _scaled(other, size)) - length) // 2 * 2


def _scaled(length: int, size: int) -> int:
    """Return `length * size / size` as Keras gets it: in float32, which rounds beyond 2**24."""
    return int(np.float32(length * size) / np.float32(size))


def _along_rows(matrix: csr_array | np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Resize the first axis of `pixels` (n, m, 3) to (target, m, 3) float32.

    `matrix` (target, n or more) may take them to lie amid zeros. The zeros are never made: around
    a picture of 60,000 x 1 pixels they would take 10 GB.
    """
    before = (matrix.shape[1] - len(pixels)) // 2
    if before:
        matrix = matrix[:, before : before + len(pixels)]
    rows = np.ascontiguousarray(pixels, np.float32).reshape(len(pixels), -1)
    return (matrix @ rows).reshape(-1, *pixels.shape[1:])


@lru_cache(maxsize=32)  # pictures come in few sizes, and making it takes as long as using it
def _sparse_matrix(
    source: int, target: int, interpolation: Interpolation, antialias: bool
) -> csr_array | np.ndarray:
    index, weights = _weights(source, target, interpolation, antialias)
    used = weights != 0
    rows = np.broadcast_to(np.arange(target)[:, None], index.shape)
    try:
        # Inside, because it takes 0.1 s to import and the default policy does without.
        from scipy.sparse import csr_array
    except ModuleNotFoundError:  # in a packed model: the zeros are made, which only takes longer
        dense = np.zeros((target, source), np.float32)
        dense[rows[used], index[used]] = weights[used]
        return dense
    return csr_array((weights[used], (rows[used], index[used])), shape=(target, source))


def _weights(
    source: int, target: int, interpolation: Interpolation, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return which source pixels each target pixel reads, and their weights.

    Returns:
        Index (target, taps) int64 and weight (target, taps) float32. Weights sum to 1 over the
        taps; an index outside the picture has weight 0.
    """
    # float32, as TensorFlow: a nearest neighbor at a tie, or a bicubic table entry, is a jump
    # that exact positions would take elsewhere.
    scale = np.float32(source) / np.float32(target)
    center = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale
    if interpolation == "nearest":
        nearest = np.minimum(np.floor(center).astype(np.int64), source - 1)
        return nearest[:, None], np.ones((target, 1), np.float32)
    kernel, radius = _KERNELS[interpolation]
    wide = max(float(scale), 1.0) if antialias else 1.0
    if interpolation == "bicubic" and not antialias:
        center = _on_table(center)
    first = np.ceil(center - radius * wide - 0.5).astype(np.int64)
    index = first[:, None] + np.arange(2 * int(np.ceil(radius * wide)) + 1)
    weights = kernel(np.abs(index + 0.5 - center[:, None]) / wide)
    weights[(index < 0) | (index >= source)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return index, weights.astype(np.float32)


def _on_table(center: np.ndarray) -> np.ndarray:
    """Return positions as TensorFlow's bicubic sees them, in steps of 1/1024 pixel."""
    at = center - np.float32(0.5)
    below = np.floor(at)
    return below + np.rint((at - below) * 1024) / 1024 + 0.5


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _keys_cubic(distance: np.ndarray) -> np.ndarray:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_keys_cubic, 2),
}
