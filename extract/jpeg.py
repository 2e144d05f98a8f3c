"""JPEG through libjpeg-turbo with the accurate DCT: bit for bit what Pillow gives.

bytes ── libjpeg, strictly ──▶ pixels
              └─ a complaint ──▶ is picture data missing? ── no ──▶ Pillow, and a warning

simplejpeg decodes without the GIL. What it has no name for, or has its own arithmetic for, goes
through Pillow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg

from extract import pillow_formats
from extract.errors import ImageError
from extract.image_limits import check_size
from extract.pillow_formats import TRUNCATED, one_line

_EOI = b"\xff\xd9"  # end of image


def decode(data: bytes) -> tuple[np.ndarray, str | None]:
    """Return pixels (h, w, 3) uint8 as stored, and libjpeg's warning if it had one."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        # Either the header is broken, or it has a chroma sampling such as 4:1:0 that TurboJPEG
        # has no name for but libjpeg decodes: Pillow tells.
        return pillow_formats.decode(data, "JPEG")[0], None
    check_size(width, height)
    pixels, complaint = _decode_strictly(data)
    if complaint is not None:
        return _decode_odd_jpeg(data, complaint)
    if pixels is None or colors in ("CMYK", "YCCK"):
        # simplejpeg has its own arithmetic for CMYK, up to 2 levels from Pillow's.
        pixels = pillow_formats.decode(data, "JPEG")[0]
    return pixels, None


def _decode_strictly(data: bytes) -> tuple[np.ndarray | None, str | None]:
    """Return the pixels and None, or None and the first thing that libjpeg complains about."""
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    except ValueError as error:
        return None, one_line(error)
    return pixels, None


def _decode_odd_jpeg(data: bytes, complaint: str) -> tuple[np.ndarray, str]:
    """Decode a JPEG that libjpeg complains about, unless picture data is missing.

    libjpeg itself fills what is missing with grey and goes on. Its complaint about a file that
    ends early is the same whether a scan or only the end marker is missing; with an end marker
    put there, it tells the two apart.
    """
    warning = complaint
    if complaint == "Premature end of JPEG file":
        warning = "the end marker is missing"
        data += _EOI
        _, complaint_then = _decode_strictly(data)
        # Bytes that precede the marker we put there come after complete data.
        whole = complaint_then is None or complaint_then.endswith("before marker 0xd9")
        if not (whole and _has_every_scan(data)):
            raise ImageError("decode", TRUNCATED)
    elif re.search("premature end of data segment|marker 0xd9 instead of", complaint):
        raise ImageError("decode", TRUNCATED)  # the end marker is there, but too early
    try:
        return pillow_formats.decode(data, "JPEG")[0], warning
    except ImageError as error:
        reason = error.reason if error.reason == TRUNCATED else f"broken JPEG: {complaint}"
        raise ImageError("decode", reason) from error


def _has_every_scan(data: bytes) -> bool:
    """Whether every coefficient of every component is given to its last bit.

    A progressive JPEG that is cut between two scans decodes without a complaint, only blurred.
    """
    missing: set[tuple[int, int]] = set()
    for marker, start, stop in _segments(data):
        body = data[start:stop]
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):  # start of frame
            missing = {(component, k) for component in body[6::3] for k in range(64)}
        elif marker == 0xDA and len(body) >= 6 and body[-1] & 15 == 0:  # a scan of last bits
            first, last = body[-3], body[-2]
            given = {(component, k) for component in body[1:-3:2] for k in range(first, last + 1)}
            missing -= given
    return not missing


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, stop) of the segments that have a body; skips junk and scan data."""
    at = data.find(b"\xff", 2)
    while 0 <= at < len(data) - 3:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker == _EOI[1]:
            return
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # no body
            stop = at + 2
        else:
            stop = at + 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
            yield marker, at + 4, min(stop, len(data))
        at = data.find(b"\xff", stop)


def exif_segment(data: bytes) -> bytes:
    """Return the body of the first EXIF segment, or nothing."""
    for marker, start, stop in _segments(data):
        if marker == 0xDA:
            break
        if marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            return data[start:stop]
    return b""
