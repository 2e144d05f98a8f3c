"""Eight small pictures of ours that every engine, export and cache is compared on.

They are raw files, so that decoding, orientation and resizing are compared too: one pixel, a
large photograph's size, grey, CMYK, turned by EXIF, narrow, transparent, and one of the size
that most backbones see. Their bytes depend on Pillow's encoders, so stores keep copies.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112
SMALL = 64 << 10  # bytes: a picture of the user's is kept as a probe up to this size
MOST_OF_USER = 24  # pictures
NAMES = (
    "one-pixel.png",
    "large.jpg",
    "grey.jpg",
    "cmyk.jpg",
    "turned.jpg",
    "narrow.png",
    "transparent.png",
    "plain.png",
)


@cache
def synthetic() -> Mapping[str, bytes]:
    """Return name → bytes of the eight synthetic probes."""
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6
    pictures = (
        _encode(_picture(1, 1, 1), "PNG"),
        _encode(_picture(2, 1500, 2000), "JPEG", quality=80),
        _encode(_picture(3, 180, 240).convert("L"), "JPEG", quality=90),
        _encode(_picture(4, 200, 200).convert("CMYK"), "JPEG", quality=90),
        _encode(_picture(5, 160, 320), "JPEG", quality=90, exif=turned.tobytes()),
        _encode(_picture(6, 300, 17), "PNG"),
        _encode(_transparent(_picture(7, 96, 128)), "PNG"),
        _encode(_picture(8, 224, 224), "PNG"),
    )
    return dict(zip(NAMES, pictures, strict=True))


def _picture(seed: int, height: int, width: int) -> Image.Image:
    """Draw soft blobs with edges in them: spectra nearer to photographs than noise is."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 8, 3)).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    stripes = 24 * np.sign(np.sin(np.arange(width) / 9.0))[None, :, None]
    return Image.fromarray(np.clip(field + stripes, 0, 255).astype(np.uint8))


def _transparent(picture: Image.Image) -> Image.Image:
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


def _encode(picture: Image.Image, format: str, **options: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, format, **options)
    return sink.getvalue()
