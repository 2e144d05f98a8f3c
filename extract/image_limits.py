"""The limits that an image is held to before anything of it is decoded.

A few hundred bytes can announce billions of pixels, so the size is checked on the header.
"""

from __future__ import annotations

from extract.errors import ImageError

MAX_BYTES = 2**29
"""Largest file that is decoded: half a GiB, a 16-bit TIFF of 89 million pixels."""
MAX_PIXELS = 2**29 // 3
"""Most pixels that are decoded: half a GiB as RGB. Pillow refuses beyond the same number."""
MAX_SIDE = 2**16 - 1
"""Longest side in pixels, as in JPEG and GIF: a picture of 1 x 100 million is no photo, and the
kernel of an antialiased resize is as long as the picture."""


def check_bytes(data: bytes) -> None:
    """Raise `ImageError` if a file is empty or too large."""
    if not data:
        raise ImageError("header", "empty file")
    if len(data) > MAX_BYTES:
        raise ImageError("header", f"too large: {len(data)} bytes, the limit is {MAX_BYTES}")


def check_size(width: int, height: int) -> None:
    """Raise `ImageError` if a picture has too many pixels, or too many on a side."""
    size = f"too large: {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise ImageError("header", f"{size}, the limit is {MAX_PIXELS}")
    if max(width, height) > MAX_SIDE:
        raise ImageError("header", f"{size}, the limit is {MAX_SIDE} on a side")
