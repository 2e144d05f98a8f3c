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

import io
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import PIL
import simplejpeg
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from extract import exif
from extract.errors import ImageError
from extract.recipe import PixelPolicy
from extract.resize import resize

MAX_BYTES = 2**29
"""Largest file that is decoded: half a GiB, a 16-bit TIFF of 89 million pixels."""
MAX_PIXELS = 2**29 // 3
"""Most pixels that are decoded: half a GiB as RGB. Pillow refuses beyond the same number.

A few hundred bytes can announce billions of pixels, so this is checked on the header.
"""
MAX_SIDE = 2**16 - 1
"""Longest side in pixels, as in JPEG and GIF: a picture of 1 x 100 million is no photo, and the
kernel of an antialiased resize is as long as the picture."""
DECODER_VERSION = 1
"""Goes up when a change to this file makes a bad image good."""

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
}
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
_TRUNCATED = "truncated: picture data ends early"
_EOI = b"\xff\xd9"  # end of image

# Rawmodes of Pillow that read the high byte of 16-bit color, and those that read the low one.
_LITTLE = sys.byteorder == "little"
_LOW_BYTE = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order, other in {"B": "L", "L": "B", "N": "B" if _LITTLE else "L"}.items()
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
    kind = _kind(data)
    if kind == "JPEG":
        pixels, warning = _decode_jpeg(data)
        orientation = exif.orientation(_jpeg_exif(data))
    else:
        pixels, orientation = _decode_by_pillow(data, kind)
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
        _check_size(data.shape[1], data.shape[0])
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
        reader = _optional_reader(kind)
        package = reader.__module__.partition(".")[0] if reader else ""
        parts.append(
            f"{kind} by {package} {sys.modules[package].__version__}" if reader else f"no {kind}"
        )
    parts.append(f"at most {MAX_PIXELS} pixels, {MAX_SIDE} on a side, {MAX_BYTES} bytes")
    return ", ".join(parts)


def _kind(data: bytes) -> str:
    if not data:
        raise ImageError("header", "empty file")
    if len(data) > MAX_BYTES:
        raise ImageError("header", f"too large: {len(data)} bytes, the limit is {MAX_BYTES}")
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


def _check_size(width: int, height: int) -> None:
    size = f"too large: {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise ImageError("header", f"{size}, the limit is {MAX_PIXELS}")
    if max(width, height) > MAX_SIDE:
        raise ImageError("header", f"{size}, the limit is {MAX_SIDE} on a side")


# JPEG


def _decode_jpeg(data: bytes) -> tuple[np.ndarray, str | None]:
    """Return pixels (h, w, 3) uint8 as stored, and libjpeg's warning if it had one."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        # Either the header is broken, or it has a chroma sampling such as 4:1:0 that TurboJPEG
        # has no name for but libjpeg decodes: Pillow tells.
        return _decode_by_pillow(data, "JPEG")[0], None
    _check_size(width, height)
    pixels, complaint = _decode_strictly(data)
    if complaint is not None:
        return _decode_odd_jpeg(data, complaint)
    if pixels is None or colors in ("CMYK", "YCCK"):
        # simplejpeg has its own arithmetic for CMYK, up to 2 levels from Pillow's.
        pixels = _decode_by_pillow(data, "JPEG")[0]
    return pixels, None


def _decode_strictly(data: bytes) -> tuple[np.ndarray | None, str | None]:
    """Return the pixels and None, or None and the first thing that libjpeg complains about."""
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    except ValueError as error:
        return None, _one_line(error)
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
            raise ImageError("decode", _TRUNCATED)
    elif re.search("premature end of data segment|marker 0xd9 instead of", complaint):
        raise ImageError("decode", _TRUNCATED)  # the end marker is there, but too early
    try:
        return _decode_by_pillow(data, "JPEG")[0], warning
    except ImageError as error:
        reason = error.reason if error.reason == _TRUNCATED else f"broken JPEG: {complaint}"
        raise ImageError("decode", reason) from error


def _has_every_scan(data: bytes) -> bool:
    """Whether every coefficient of every component is given to its last bit.

    A progressive JPEG that is cut between two scans decodes without a complaint, only blurred.
    """
    missing: set[tuple[int, int]] = set()
    for marker, start, stop in _jpeg_segments(data):
        body = data[start:stop]
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):  # start of frame
            missing = {(component, k) for component in body[6::3] for k in range(64)}
        elif marker == 0xDA and len(body) >= 6 and body[-1] & 15 == 0:  # a scan of last bits
            first, last = body[-3], body[-2]
            given = {(component, k) for component in body[1:-3:2] for k in range(first, last + 1)}
            missing -= given
    return not missing


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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


def _jpeg_exif(data: bytes) -> bytes:
    """Return the body of the first EXIF segment, or nothing."""
    for marker, start, stop in _jpeg_segments(data):
        if marker == 0xDA:
            break
        if marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            return data[start:stop]
    return b""


# All other formats


def _decode_by_pillow(data: bytes, kind: str) -> tuple[np.ndarray, int]:
    """Return pixels (h, w, 3) uint8 as stored, and how EXIF wants them turned, 1 to 8."""
    reader = _reader(kind)
    _silence_pillow()
    try:
        picture = _open(reader, data)
    except Image.DecompressionBombError as error:
        raise ImageError("header", f"too large: {_one_line(error)}") from error
    except MemoryError:  # a property of this machine, not of the image
        raise
    except Exception as error:  # Pillow's readers raise a dozen types on bad bytes
        raise ImageError("header", _reason(kind, error)) from error
    _check_size(*picture.size)
    _check_mode(picture)
    try:
        return _load(picture, _reader_of_low_bytes(picture, data))
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError("decode", _reason(kind, error)) from error


def _reader(kind: str) -> type[ImageFile.ImageFile]:
    """Return Pillow's class for one format.

    `Image.open` would try other formats too, and warn about large pictures before we look.
    """
    reader = _READERS.get(kind) or _optional_reader(kind)
    if reader is None:
        reason = f'{kind} needs an extra: pip install "headstart[heic]"'
        raise ImageError("header", reason)
    return reader


def _optional_reader(kind: str) -> type[ImageFile.ImageFile] | None:
    """Return the class for AVIF (Pillow may have it) or HEIC, or None where it is not installed."""
    if kind == "AVIF":
        try:
            from PIL import AvifImagePlugin
        except ImportError:
            pass
        else:
            if AvifImagePlugin.SUPPORTED:
                return AvifImagePlugin.AvifImageFile
    try:
        import pillow_heif
    except ImportError:
        return None
    return getattr(pillow_heif, {"AVIF": "AvifImageFile", "HEIC": "HeifImageFile"}[kind], None)


def _check_mode(picture: ImageFile.ImageFile) -> None:
    """Refuse numbers whose black and white nobody states."""
    if picture.mode in ("I", "F"):
        what = "32-bit or signed integers" if picture.mode == "I" else "floating point numbers"
        raise ImageError("header", f"pixels are {what}: convert the image to 8 or 16 bits")


def _open(reader: type[ImageFile.ImageFile], data: bytes) -> ImageFile.ImageFile:
    picture = reader(io.BytesIO(data))
    picture.info.pop("xmp", None)  # else Pillow's TIFF looks there for an orientation as well
    return picture


def _load(picture: ImageFile.ImageFile, low: ImageFile.ImageFile | None) -> tuple[np.ndarray, int]:
    """Return pixels (h, w, 3) uint8 as stored, and how EXIF wants them turned, 1 to 8.

    Args:
        picture: Opened, not loaded.
        low: What `_reader_of_low_bytes` gave for it.
    """
    turned = 1
    if isinstance(picture, TiffImageFile):  # Pillow turns it by itself, so that is undone below
        turned = picture.getexif().get(exif.ORIENTATION, 1)
    white = 2**12 - 1 if any("I;12" in str(tile.args) for tile in picture.tile) else 2**16 - 1
    picture.load()
    if picture.mode.startswith("I;16"):
        pixels = np.repeat(_to_8_bits(np.asarray(picture), white)[..., None], 3, axis=2)
    elif low is not None:
        high = np.asarray(picture)[..., :3].astype(np.uint16)
        pixels = _to_8_bits(high * 256 + np.asarray(low)[..., :3], white)
    else:
        picture.info.pop("transparency", None)  # alpha is dropped, and Pillow would warn of it
        pixels = np.array(picture.convert("RGB"))
    if turned in range(2, 9):
        return exif.turn(pixels, exif.UNDO.get(turned, turned)), turned
    return pixels, exif.orientation(picture.info.get("exif", b""))


def _reader_of_low_bytes(picture: ImageFile.ImageFile, data: bytes) -> ImageFile.ImageFile | None:
    """Return a second reader for the low bytes of 16-bit color, or None for other pictures.

    Pillow has no mode for 16-bit color and keeps the high bytes. Told that the byte order is the
    other one, it keeps the low bytes.
    """
    tiles = []
    for tile in picture.tile:
        raw, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or (None,)
        if raw not in _LOW_BYTE:
            return None
        args = (_LOW_BYTE[raw], *rest)
        tiles.append(tile._replace(args=args if rest else args[0]))
    if not tiles:
        return None
    low = _open(type(picture), data)
    low.tile = tiles
    return low


def _to_8_bits(values: np.ndarray, white: int) -> np.ndarray:
    """Scale integers in 0..white to 0..255, rounded: for 16 bits, v / 257."""
    return ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)


_LOCK = threading.Lock()
_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _silence_pillow() -> None:
    """Ignore the warnings that Pillow's readers give about odd metadata, from now on.

    Where warnings are errors, one would make a good picture bad. `warnings.catch_warnings` is no
    help: it swaps a list that all threads share, so that two decodes at once can leave it
    swapped. A filter that only ever comes is safe; whether it is still the first is asked each
    time, because others put theirs before it, or older lists back (pytest does).
    """
    with _LOCK:
        if next(iter(warnings.filters), None) != _FILTER:
            warnings.filterwarnings("ignore", module=r"PIL\.")


def _reason(kind: str, error: Exception) -> str:
    text = _one_line(error)
    return _TRUNCATED if "truncated" in text.lower() else f"broken {kind}: {text}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
