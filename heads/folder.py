"""A folder or a file that appears whole, or not at all: models, packed models and pages."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from extract.published import published
from extract.store.files import LocalFiles


def publish_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder under another name, sync it, and rename it to `path`.

    A folder that has that path is replaced: it is moved aside first, and moved back if the new
    one cannot take its place. A kill between the two leaves both, under names that begin with a
    dot, and nothing at `path`; it never leaves half a folder there.

    Args:
        path: The folder; its parents are made.
        files: Content by name; names may hold "/".

    Raises:
        OSError: If the disk refuses; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    disk = LocalFiles(scratch)
    try:
        disk.make_folder("")
        for name, data in files.items():
            disk.make_folder(name.rpartition("/")[0])
            disk.write_new(name, data)
            disk.fsync(name)
        for folder in {name.rpartition("/")[0] for name in files} | {""}:
            disk.fsync(folder)
        _replace(scratch, path)
        LocalFiles(path.parent).fsync("")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def try_place(path: Path) -> None:
    """Make a folder where one of this path would be made first, and remove it again.

    Raises:
        OSError: If the disk refuses.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    os.rmdir(tempfile.mkdtemp(prefix=f".{path.name[:16]}.", dir=nearest))


def publish_file(path: Path, data: bytes) -> None:
    """Write a file under another name, sync it, and rename it to `path`.

    Raises:
        OSError: If the disk refuses; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    disk = LocalFiles(path.parent)
    with published(path) as scratch:
        disk.write_new(scratch.name, data)
        disk.fsync(scratch.name)
    disk.fsync("")


def _replace(scratch: Path, path: Path) -> None:
    if not path.exists():
        os.replace(scratch, path)
        return
    before = scratch.with_name(scratch.name + ".before")
    os.replace(path, before)
    try:
        os.replace(scratch, path)
    except BaseException:
        os.replace(before, path)
        raise
    shutil.rmtree(before, ignore_errors=True)
