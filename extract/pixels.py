"""Bytes become pixels: the one decode and the one resize in the project.

    bytes ── header: format, size ──▶ decode ──▶ 8-bit RGB ──▶ EXIF turn ──▶ uint8 (h, w, 3)
                                                                └─ resize ─▶ float32 (S, S, 3)

A format is known by its first bytes, never by a file's name. JPEG goes through libjpeg-turbo
with the accurate DCT (simplejpeg, bit for bit what Pillow gives, without the GIL); all else
through the one Pillow reader that fits. docs/pixels.md has the treatment of each kind of picture.

This module knows bytes; it knows nothing of paths, items or backbones. Every function may run
in several threads at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import cv2
import numpy as np
import PIL
import simplejpeg

from extract import exif, image_limits, jpeg, pillow_formats
from extract.errors import ImageError
from extract.recipe import PixelPolicy
from extract.resize import resize

DECODER_VERSION = 1
"""Goes up when a change to this file, or to one that it decodes by, makes a bad image good."""

_FIRST_BYTES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # with 64-bit offsets
    b"MM\0+": "TIFF",
}
_BRANDS = {  # of ISO base media files, in the order in which they decide
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A good picture."""

    pixels: np.ndarray
    """(h, w, 3) uint8 RGB, C-contiguous, h and w at least 1."""
    warning: str | None
    """What was odd about the file though no picture data is missing, in one line; or None."""


def decode(data: bytes, policy: PixelPolicy) -> Decoded:
    """Turn the bytes of one image file into pixels.

    Args:
        data: The whole file.
        policy: Only `exif_orientation` matters here.

    Raises:
        ImageError: If these bytes are no picture that we read, at stage "header" (what it is,
            how large it is) or "decode" (the picture data). The reason is one line, the same for
            the same bytes, and names no path.
    """
    image_limits.check_bytes(data)
    kind = _kind(data)
    if kind == "JPEG":
        pixels, warning = jpeg.decode(data)
        orientation = exif.orientation(jpeg.exif_segment(data))
    else:
        pixels, orientation = pillow_formats.decode(data, kind)
        warning = None
    if policy.exif_orientation:
        pixels = exif.turn(pixels, orientation)
    return Decoded(np.ascontiguousarray(pixels), warning)


def load(data: bytes | np.ndarray, policy: PixelPolicy) -> tuple[np.ndarray, str | None]:
    """Turn one image into what the backbone sees: decode, then resize.

    Args:
        data: The bytes of an image file; or its pixels (h, w, 3 or 1) uint8, which are as they
            should be seen.
        policy: How it is decoded and resized.

    Returns:
        (image_size, image_size, 3) float32 in 0..255, and the warning of `decode`.

    Raises:
        ImageError: As `decode`.
    """
    if isinstance(data, np.ndarray):
        image_limits.check_size(data.shape[1], data.shape[0])
        return resize(
            np.ascontiguousarray(np.broadcast_to(data, (*data.shape[:2], 3))), policy
        ), None
    decoded = decode(data, policy)
    return resize(decoded.pixels, policy), decoded.warning


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (h, w, 3 or 1) uint8 as the bytes of a PNG, which decodes to the same."""
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def decoder_signature() -> str:
    """Name all that decides which images are good; where it differs, bad ones are worth a try."""
    parts = [f"decoder {DECODER_VERSION}", f"simplejpeg {simplejpeg.__version__}"]
    parts.append(f"pillow {PIL.__version__}")
    for kind in _BRANDS:
        reader = pillow_formats.optional_reader(kind)
        package = reader.__module__.partition(".")[0] if reader else ""
        parts.append(
            f"{kind} by {package} {sys.modules[package].__version__}" if reader else f"no {kind}"
        )
    parts.append(
        f"at most {image_limits.MAX_PIXELS} pixels, {image_limits.MAX_SIDE} on a side, "
        f"{image_limits.MAX_BYTES} bytes"
    )
    return ", ".join(parts)


def _kind(data: bytes) -> str:
    for first_bytes, kind in _FIRST_BYTES.items():
        if data.startswith(first_bytes):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        brands = {box[at : at + 4] for at in range(0, len(box), 4)}
        for kind, names in _BRANDS.items():
            if brands & names:
                return kind
    raise ImageError("header", f"not an image: the first bytes are {data[:4].hex()}")
