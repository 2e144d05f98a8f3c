"""How EXIF says that a picture is to be turned, and the turn."""

from __future__ import annotations

import struct

import cv2
import numpy as np

ORIENTATION = 0x0112
"""EXIF's number for it."""
UNDO = {6: 8, 8: 6}
"""Orientation → the one that undoes it; the others undo themselves."""
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # OpenCV's words: 1 left-right, 0 up-down, -1 both


def orientation(block: bytes) -> int:
    """Return the orientation, 1 to 8, that an EXIF block asks for; 1 where it is malformed.

    Only EXIF counts: where Pillow also follows the `tiff:Orientation` of an XMP packet, web
    browsers and libvips do not.
    """
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
            if tag == ORIENTATION:
                form = {1: "B", 3: "H", 4: "I"}.get(kind)
                if form is None or count != 1:
                    return 1
                (value,) = struct.unpack_from(order + form, tiff, at + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # it ends too early
        pass
    return 1


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels (h, w, 3), or (w, h, 3) for 5 to 8, the way that EXIF wants them shown.

    Source: Exif 3.0 (CIPA DC-008), tag 0x0112; 6 is a quarter turn clockwise.
    """
    if orientation >= 5:
        pixels = cv2.transpose(pixels)  # four times as fast as NumPy's copy of the swapped axes
    flip = _FLIPS.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)
