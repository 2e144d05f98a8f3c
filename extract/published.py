"""A file or folder that appears whole, or not at all: written beside its place, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`, which takes its name if the block succeeds.

    Raises:
        OSError: If the disk refuses; `path` is then as it was.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        # A disk that refused the write may refuse this too: the first error is the one to tell.
        with contextlib.suppress(OSError):
            if scratch.is_dir():
                shutil.rmtree(scratch)
            scratch.unlink(missing_ok=True)
