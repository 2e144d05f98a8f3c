"""The data set and the backbone of `python -m extract demo`, both at hand without a network.

The pictures are the handwritten digits that ship inside scikit-learn, 8 x 8 pixels of 0 to 16.
The backbone has been trained on the digits 0 to 4 alone, and the demo extracts the digits 5 to 9:
it has never seen a picture of these classes, so what its features are worth there is transfer.

    folder/5/0005.png    row 5 of `sklearn.datasets.load_digits`, a 5; 32 x 32, grey, 8 bits
    folder/6/0006.png
    ...

`scripts/train_digits_backbone.py` makes the weights. This module knows pixels, PNG and layers; it
knows nothing of the training, nor of what the demo does with the features.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from extract.errors import InputError

if TYPE_CHECKING:
    import keras

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Pixels = npt.NDArray[np.uint8]

IMAGE_SIZE = 32
"""Side of a written picture and of the backbone's input, in pixels."""

DEMO_DIGITS = range(5, 10)
"""The classes that are written; the backbone was trained on the others."""

WEIGHTS = Path(__file__).with_name("digits.weights.h5")
"""Weights for `build()`, as `scripts/train_digits_backbone.py` saved them."""

WEIGHTS_SHA256 = "8dca391faceb9c1dedabe6685ed992794227e8a0d3b68add96621f76325a455e"
"""SHA-256 of the file `WEIGHTS`, 64 hex characters."""


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


def encode_png(pixels: Pixels) -> bytes:
    """Return `pixels` (height, width), uint8, as a grey PNG file.

    The pixels are stored, not deflated: what a compressor writes changes with its release, and a
    folder that an earlier release has filled should be taken for what it is.
    """
    height, width = pixels.shape
    rows = np.insert(pixels, 0, 0, axis=1)  # (height, 1 + width): each row's filter is 0, none
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),  # 8 bits, grey
        (b"IDAT", zlib.compress(rows.tobytes(), level=0)),
        (b"IEND", b""),
    )
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def write_pngs(folder: Path) -> int:
    """Write the digits 5 to 9 as PNG files in class folders.

    Pictures that are already there are left alone, so that a second demo finds its first one's
    features. What else is in `folder` is neither read nor removed.

    Args:
        folder: Made if it does not exist; see the top of this file for what goes where.

    Returns:
        Number of pictures, old and new.

    Raises:
        InputError: If something else has the name of a picture, before anything is written; or
            if the folder cannot be written.
    """
    files = _png_files()
    try:
        missing = {name: png for name, png in files.items() if not _holds(folder / name, png)}
        for name, png in missing.items():
            _write_whole(folder / name, png)
    except OSError as error:
        raise InputError(
            f"The demo's pictures cannot be put into {folder}: {error}. Give a folder that is "
            f"new, or that an earlier demo has made."
        ) from error
    return len(files)


def _png_files() -> dict[str, bytes]:
    """Return the demo's PNG files by their path in the folder, such as "5/0005.png"."""
    images, labels = read_digits()
    rows = np.flatnonzero(np.isin(labels, DEMO_DIGITS))
    return {
        f"{labels[row]}/{row:04}.png": encode_png(pixels)
        for row, pixels in zip(rows, render(images[rows]), strict=True)
    }


def _holds(path: Path, content: bytes) -> bool:
    """Return whether `path` is a file of `content`; raise OSError if it is anything else."""
    if not os.path.lexists(path):  # a broken link is there, too: it is not ours to replace
        return False
    if path.read_bytes() != content:
        raise FileExistsError(f"{path} is another file")
    return True


def _write_whole(path: Path, content: bytes) -> None:
    """Write `path` under a scratch name first: half a picture would pass for somebody else's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    scratch.write_bytes(content)
    scratch.replace(path)
