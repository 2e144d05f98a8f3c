"""Every format through the one Pillow reader that fits, its 16-bit kinds rounded to 8 bits.

JPEG comes here only where libjpeg alone will not do.
"""

from __future__ import annotations

import io
import re
import sys
import threading
import warnings

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from extract import exif
from extract.errors import ImageError
from extract.image_limits import check_size

TRUNCATED = "truncated: picture data ends early"
"""Reason of an image whose picture data is not all there."""

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
}

# Rawmodes of Pillow that read the high byte of 16-bit color, and those that read the low one.
_LITTLE = sys.byteorder == "little"
_LOW_BYTE = {
    f"{bands};16{order}": f"{bands};16{other}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order, other in {"B": "L", "L": "B", "N": "B" if _LITTLE else "L"}.items()
}

_LOCK = threading.Lock()
_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode(data: bytes, kind: str) -> tuple[np.ndarray, int]:
    """Return pixels (h, w, 3) uint8 as stored, and how EXIF wants them turned, 1 to 8."""
    reader = _reader(kind)
    _silence_pillow()
    try:
        picture = _open(reader, data)
    except Image.DecompressionBombError as error:
        raise ImageError("header", f"too large: {one_line(error)}") from error
    except MemoryError:  # a property of this machine, not of the image
        raise
    except Exception as error:  # Pillow's readers raise a dozen types on bad bytes
        raise ImageError("header", _reason(kind, error)) from error
    check_size(*picture.size)
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
    reader = _READERS.get(kind) or optional_reader(kind)
    if reader is None:
        reason = f'{kind} needs an extra: pip install "headstart[heic]"'
        raise ImageError("header", reason)
    return reader


def optional_reader(kind: str) -> type[ImageFile.ImageFile] | None:
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
    text = one_line(error)
    return TRUNCATED if "truncated" in text.lower() else f"broken {kind}: {text}"


def one_line(error: Exception) -> str:
    """Return what an error of a decoder says, in one line of at most 120 characters."""
    return " ".join(str(error).split())[:120] or type(error).__name__
