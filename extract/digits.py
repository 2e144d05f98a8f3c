"""The data set and the backbone of `python -m extract demo`, both at hand without a network.

The pictures are the handwritten digits that ship inside scikit-learn, 8 x 8 pixels of 0 to 16.
The backbone has been trained on the digits 0 to 4 alone, and the demo extracts the digits 5 to 9:
it has never seen a picture of these classes, so what its features are worth there is transfer.

    folder/5/0005.png    row 5 of `sklearn.datasets.load_digits`, a 5; 32 x 32, grey, 8 bits
    folder/6/0006.png
    ...

`scripts/train_digits_backbone.py` makes the weights. This module knows nothing of how they were
trained, nor of what the demo does with the features.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from extract.errors import InputError

if TYPE_CHECKING:
    import keras

Pixels = npt.NDArray[np.uint8]

IMAGE_SIZE = 32
"""Side of a written picture and of the backbone's input, in pixels."""

DEMO_DIGITS = range(5, 10)
"""The classes that are written; the backbone was trained on the others."""

WEIGHTS = Path(__file__).with_name("digits.weights.h5")
"""Weights for `build()`, as `scripts/train_digits_backbone.py` saved them."""

WEIGHTS_SHA256 = ""
"""SHA-256 of the file `WEIGHTS`."""


def build() -> keras.Model:
    """Return the backbone, without a top and with random weights.

    Load the trained ones with `build().load_weights(WEIGHTS)`.

    Returns:
        Model from images (batch, 32, 32, 3), float32 in 0..255, to a map (batch, 4, 4, 64),
        float32, at least 0.
    """
    import keras

    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="rescale")(inputs)
    for number, (filters, stride) in enumerate(((16, 2), (32, 2), (64, 2), (64, 1)), start=1):
        x = keras.layers.Conv2D(
            filters, 3, stride, padding="same", use_bias=False, name=f"conv{number}"
        )(x)
        x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    return keras.Model(inputs, x, name="digits")


def read_digits() -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return what `sklearn.datasets.load_digits` holds, in its order.

    Returns:
        Images (1797, 8, 8), uint8 in 0..16, and labels (1797,), int64 in 0..9.

    Raises:
        InputError: If scikit-learn is not installed.
    """
    # Finding the package does not run it: its import takes seconds, and one file is wanted.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError("The demo's pictures ship with scikit-learn: pip install scikit-learn")
    source = Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"
    with gzip.open(source, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 64 + 1), label last
    return table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1]


def render(images: Pixels) -> Pixels:
    """Return `images` as the demo shows them: (n, 8, 8) of 0..16 to (n, 32, 32) of 0..255."""
    grey = np.rint(images * (255 / 16)).astype(np.uint8)
    scale = IMAGE_SIZE // images.shape[1]
    return grey.repeat(scale, axis=1).repeat(scale, axis=2)
