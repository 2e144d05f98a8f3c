"""Read a file once, hash those very bytes, and hand on those very bytes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from extract.errors import ImageError
from extract.items import Item
from extract.pixels import MAX_BYTES
from extract.store.commits import FileRead


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The bytes of an item's file, and the facts of the moment in which they were read."""

    data: bytes
    read: FileRead


def image_key(data: bytes) -> str:
    """Return the name of an image: the SHA-256 of its bytes, 64 hex characters."""
    return hashlib.sha256(data).hexdigest()


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
