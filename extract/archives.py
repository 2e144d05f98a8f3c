"""What reading a damaged zip raises: `.zip`, `.npz` and `.keras` files are all zips."""

from __future__ import annotations

import lzma
import zipfile
import zlib

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or (NotImplementedError) packed in a way that Python does not know
    ValueError,  # names that say they are UTF-8 and are not
)
"""`HeadstartError`s may be among them: let those through first."""
