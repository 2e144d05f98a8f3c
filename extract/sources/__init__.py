"""Where items come from: folders, tables, arrays, archives, and other libraries' data sets.

Whatever it is, it becomes a `Listing`: items with unique paths, sorted, and a `Source` that
reads them where they are not files of a folder. The rest of the road knows no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from extract.errors import InputError
from extract.items import SCHEMES, Listing, list_folder
from extract.places import bucket_url, local_path


def list_images(images: Any, root: str | Path | None = None) -> Listing:
    """List a data set.

    Args:
        images: A folder or a table, perhaps in a bucket; an array file or an archive; "tfds:…" or
            "hf:…"; or arrays from Python.
        root: For a table, the folder of its paths; by default the table's own.

    Raises:
        InputError: If there is no such thing, or it cannot be used as it is.
    """
    if not isinstance(images, str | Path):
        from extract.sources.arrays import list_arrays

        _no_root(root, "arrays")
        return list_arrays(images)
    if bucket_url(images) or (root is not None and bucket_url(root)):
        from extract.sources.buckets import list_bucket

        return list_bucket(images, root)
    path = local_path(images)
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix in (".csv", ".parquet"):
        from extract.sources.table import list_table

        return list_table(path, None if root is None else local_path(root))
    _no_root(root, str(images))
    return _lister(str(images) if _is_named(images) else str(path), suffix)()


def _no_root(root: str | Path | None, images: str) -> None:
    if root is not None:
        raise InputError(f"--images is the folder of a table's paths, and {images} is no table")


def _is_named(images: str | Path) -> bool:
    return str(images).partition(":")[0] in SCHEMES


def _lister(images: str, suffix: str) -> Callable[[], Listing]:
    """Return the function that lists what is not a table; each is imported when it is needed."""
    scheme, _, name = images.partition(":")
    if scheme == "tfds" and name:
        from extract.sources.tfds import list_tfds

        return lambda: list_tfds(name)
    if scheme == "hf" and name:
        from extract.sources.hf import list_hf

        return lambda: list_hf(name)
    if suffix == ".tar":
        from extract.sources.tars import list_tars

        return lambda: list_tars(images)
    if suffix in (".npz", ".npy"):
        from extract.sources.arrays import list_array_file

        return lambda: list_array_file(Path(images))
    if suffix == ".zip":
        from extract.sources.zips import list_zip

        return lambda: list_zip(Path(images))
    return lambda: list_folder(Path(images))
