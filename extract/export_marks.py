"""What tells an earlier export, which may be replaced, from a file of the user's, which may not.

    OUT.zarr      an attribute of the group
    OUT.h5        attributes of the file
    OUT.npz       the comment of the archive
    OUT.parquet   metadata of the file
    OUT.npy       holds nothing but numbers: OUT.items.csv beside it, with our columns

A format's first bytes say what a file is, not whose it is.
"""

from __future__ import annotations

import contextlib
import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

MARK = "headstart"
ITEM_FIELDS = ["path", "label", "split", "group", "status", "image_key", "row"]
BESIDE = {".zarr": ".items.parquet", ".npy": ".items.csv"}
"""Endings of the items of the formats that cannot hold them."""


def is_export(out: Path) -> bool:
    """Return whether `export` made what lies at `out`; False where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return _CHECKS[out.suffix](out)
    return False


def _zarr(out: Path) -> bool:
    return MARK in json.loads((out / "zarr.json").read_bytes())["attributes"]


def _hdf5(out: Path) -> bool:
    import h5py

    with h5py.File(out) as file:
        return MARK in file.attrs


def _npz(out: Path) -> bool:
    with zipfile.ZipFile(out) as archive:
        return archive.comment == MARK.encode()


def _parquet(out: Path) -> bool:
    import pyarrow.parquet as pq

    return MARK.encode() in (pq.read_schema(out).metadata or {})


def _npy(out: Path) -> bool:
    with open(out.with_suffix(BESIDE[".npy"]), newline="", encoding="utf-8") as file:
        return next(csv.reader(file), None) == ITEM_FIELDS


_CHECKS: dict[str, Callable[[Path], bool]] = {
    ".zarr": _zarr,
    ".h5": _hdf5,
    ".npz": _npz,
    ".parquet": _parquet,
    ".npy": _npy,
}
