"""A joined model as TensorFlow's SavedModel: one signature for pixels, one for files' bytes.

    serve         image (batch, h, w, 3) uint8    → probabilities (batch, classes), class_names
    serve_bytes   encoded (batch,) string         → the same; one JPEG or PNG file each, any sizes

`serving_default` is `serve`. What `serve_bytes` cannot decode as `extract.pixels` does it refuses,
with an error that says why: other formats, CMYK, 16 bits a channel, and pictures that EXIF turns,
unless the model's recipe leaves those as they are stored. When in doubt it refuses: it looks for an
orientation anywhere after the start of an EXIF block, so one of a thumbnail counts as well.

This is the one file of `heads` that imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heads.model import Model

if TYPE_CHECKING:
    import keras

IMAGES, BYTES = "serve", "serve_bytes"

# An entry of TIFF: tag 0x0112, type (byte, short or long), one of them, and a value from 2 to 8.
# `\C` is any byte, also where bytes are no UTF-8.
_LITTLE = (
    r"\x12\x01(\x01\x00\x01\x00\x00\x00[\x02-\x08]|[\x03\x04]\x00\x01\x00\x00\x00[\x02-\x08]\x00)"
)
_BIG = (
    r"\x01\x12\x00(\x01\x00\x00\x00\x01[\x02-\x08]|\x03\x00\x00\x00\x01\x00[\x02-\x08]"
    r"|\x04\x00\x00\x00\x01\x00\x00\x00[\x02-\x08])"
)
TURNED = rf"\C*(Exif\x00\x00|eXIf)(II\*\x00\C*{_LITTLE}|MM\x00\*\C*{_BIG})\C*"
"""RE2 for a file that EXIF wants turned, orientation 2 to 8."""

BIT_DEPTH = 24
"""Where a PNG file has its bits per channel: signature, length and name of IHDR, width, height."""


def write(joined: keras.Model, path: Path, model: Model) -> None:
    """Write a joined model that gives probabilities; takes Keras on TensorFlow."""
    import keras
    import tensorflow as tf

    names = list(model.classes)
    turn = model.recipe.pixels.exif_orientation
    row = tf.TensorSpec((len(names),), tf.float32)

    def answer(probabilities: Any) -> dict[str, Any]:
        return {"probabilities": probabilities, "class_names": tf.constant(names)}

    def serve(image: Any) -> dict[str, Any]:
        return answer(joined(image, training=False))

    def one(encoded: Any) -> Any:
        return joined(decode(encoded, turn)[None], training=False)[0]

    def serve_bytes(encoded: Any) -> dict[str, Any]:
        return answer(tf.map_fn(one, encoded, fn_output_signature=row))

    archive = keras.export.ExportArchive()
    archive.track(joined)
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    archive.add_endpoint(IMAGES, serve, [images])
    archive.add_endpoint(BYTES, serve_bytes, [tf.TensorSpec((None,), tf.string, name="encoded")])
    archive.write_out(str(path), verbose=False)


def open_images(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the signature for pixels: (batch, h, w, 3) uint8 to (batch, classes) float32."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(tf.constant(images))["probabilities"].numpy()


def open_bytes(path: Path) -> Callable[[bytes], np.ndarray | None]:
    """Return the signature for bytes: one file to (1, classes) float32, or None if refused."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(data: bytes) -> np.ndarray | None:
        try:
            return loaded.serve_bytes(tf.constant([data]))["probabilities"].numpy()
        except tf.errors.InvalidArgumentError:
            return None

    return run


def decode(encoded: Any, turn: bool) -> Any:
    """Return pixels (h, w, 3) uint8 of one JPEG or PNG file, in a graph.

    Args:
        encoded: Scalar string.
        turn: Whether the recipe turns pictures as EXIF says; those are refused then.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs on what it cannot decode.
    """
    import tensorflow as tf

    is_png = tf.equal(tf.strings.substr(encoded, 0, 8), b"\x89PNG\r\n\x1a\n")
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), b"\xff\xd8\xff")
    checks = [_refuse_unless(is_png | is_jpeg, "It is neither JPEG nor PNG")]
    if turn:
        turned = tf.strings.regex_full_match(encoded, TURNED)
        checks.append(_refuse_unless(~turned, "Its EXIF orientation is not 1: turn it first"))
    with tf.control_dependencies(checks):
        encoded = tf.identity(encoded)
    return tf.cond(is_png, lambda: _decode_png(encoded), lambda: _decode_jpeg(encoded))


def _decode_png(encoded: Any) -> Any:
    import tensorflow as tf

    deep = tf.equal(tf.strings.substr(encoded, BIT_DEPTH, 1), b"\x10")
    with tf.control_dependencies([_refuse_unless(~deep, "It has 16 bits a channel, not 8")]):
        return tf.io.decode_png(encoded, channels=3)


def _decode_jpeg(encoded: Any) -> Any:
    import tensorflow as tf

    channels = tf.image.extract_jpeg_shape(encoded)[2]
    with tf.control_dependencies([_refuse_unless(channels < 4, "It is CMYK, not RGB or grey")]):
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _refuse_unless(fits: Any, reason: str) -> Any:
    import tensorflow as tf

    cure = "Decode it elsewhere and give its pixels to `serve`"
    return tf.debugging.Assert(fits, [f"This image is refused. {reason}. {cure}."])
