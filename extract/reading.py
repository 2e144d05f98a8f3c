"""Read an item once, hash those very bytes, and hand on those very bytes.

An image that comes as bytes is named by their SHA-256. One that comes as an array of pixels is
named by the SHA-256 of "uint8 (height, width, channels)", a line feed, and its bytes in C order.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.errors import ImageError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing
from extract.store.commits import FileRead


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The bytes of an item, and the facts of the moment in which they were read."""

    data: bytes | np.ndarray
    """The bytes of an image file, or its pixels: (h, w, 3 or 1) uint8."""
    read: FileRead


def image_key(data: bytes) -> str:
    """Return the name of an image: the SHA-256 of its bytes, 64 hex characters."""
    return hashlib.sha256(data).hexdigest()


def array_key(pixels: np.ndarray) -> str:
    """Return the name of an image that is an array (h, w, c) uint8."""
    digest = hashlib.sha256(f"uint8 {tuple(map(int, pixels.shape))}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def found(item: Item, data: bytes | np.ndarray) -> FileBytes:
    """Return what a source read for an item.

    Its size and time are those of the listing, so that the next run recognizes it by them.
    """
    key = image_key(data) if isinstance(data, bytes) else array_key(data)
    return FileBytes(data, FileRead(item.path, item.size, item.mtime_ns, key))


def read(listing: Listing, item: Item) -> FileBytes:
    """Read an item of a listing, wherever it is.

    Raises:
        ImageError: With stage "read", if it cannot be read.
    """
    if item.trouble:
        raise ImageError("read", item.trouble)
    return listing.source.read(item) if listing.source else read_item(listing.root, item)


def read_item(root: Path, item: Item) -> FileBytes:
    """Read an item's file.

    Raises:
        ImageError: With stage "read", if the file cannot be read, is too large, or changed
            meanwhile.
    """
    if item.trouble:
        raise ImageError("read", item.trouble)
    try:
        with open(root / item.path, "rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > MAX_BYTES:
                raise ImageError(
                    "read", f"{before.st_size} bytes, more than {MAX_BYTES} are not read"
                )
            data = file.read()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ImageError("read", error.strerror or str(error)) from error
    if (before.st_size, before.st_mtime_ns) != (len(data), after.st_mtime_ns):
        raise ImageError("read", "changed while it was read")
    return FileBytes(data, FileRead(item.path, len(data), before.st_mtime_ns, image_key(data)))
