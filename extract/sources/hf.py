"""A data set of Hugging Face's `datasets`: `hf:NAME_OR_PATH`, `hf:NAME[train[:40%]]` → items.

A path is what `save_to_disk` wrote, or a folder that `load_dataset` knows how to read. Images
are read as the bytes that the data set holds, and decoded as those of any file. A row may name a
file instead: it is read if it lies in the data set's own folders, since others wrote the row.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from extract.errors import ImageError, InputError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing
from extract.reading import FileBytes, found, read_item
from extract.sources import naming
from extract.splits import split_of_folder


class Rows:
    """Reads items from data sets, by split and position."""

    def __init__(self, parts: dict[str, Any], roots: Iterable[Path]) -> None:
        """Take the data sets and the folders that rows may name files of.

        Args:
            parts: Split → data set whose one column is the images', not decoded.
            roots: Absolute folders without links in them.
        """
        self._parts = parts
        self._roots = tuple(roots)
        self._lock = threading.Lock()

    def read(self, item: Item) -> FileBytes:
        """Return the bytes of an image."""
        split, _, index = item.path.rpartition("/")
        part = self._parts[split]
        with self._lock:
            image = next(iter(part[int(index)].values())) or {}
        data = image.get("bytes")
        if data is None:
            data = self._file(image.get("path"))
        if len(data) > MAX_BYTES:
            raise ImageError("read", f"{len(data)} bytes, more than {MAX_BYTES} are not read")
        return found(item, data)

    def _file(self, name: str | None) -> bytes:
        """Return the bytes of a file that a row names."""
        if name is None:
            raise ImageError("read", "no bytes")
        try:
            path = Path(name).resolve()
        except (OSError, ValueError) as error:
            raise ImageError("read", f"no name of a file: {error}") from error
        if not any(map(path.is_relative_to, self._roots)):
            raise ImageError("read", "names a file outside the data set's folders")
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise ImageError("read", "names what is no file")
        data = read_item(Path(), Item(str(path))).data
        assert isinstance(data, bytes)
        return data


def list_hf(text: str) -> Listing:
    """List the images of a data set.

    Raises:
        InputError: If `datasets` is not installed, or there is no such data set or split.
    """
    datasets = naming.library("datasets", "hf")
    name, splits = naming.parse(text)
    items: list[Item] = []
    parts: dict[str, Any] = {}
    found = _parts(datasets, name, splits)
    roots = _roots(datasets, name, found.values())
    for split, part in found.items():
        kinds = part.features
        images = (k for k, kind in kinds.items() if isinstance(kind, datasets.Image))
        image = naming.only_image(images, name)
        column = _label_column(datasets, kinds)
        labels = [None] * len(part) if column is None else _labels(part, column)
        parts[split] = part.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        mtime_ns = _mtime_ns(part)
        for index, label in enumerate(labels):
            path = f"{split}/{index:08d}"
            split_name = split_of_folder(naming.word(split))
            items.append(Item(path, label, split_name, 0, mtime_ns))
    if not items:
        raise InputError(f"hf:{text} has no rows")
    ordered = tuple(sorted(items, key=lambda item: item.path))
    return Listing(Path(), ordered, place=f"hf:{text}", source=Rows(parts, roots))


def _roots(datasets: Any, name: str, whole: Iterable[Any]) -> set[Path]:
    """Return the folders of a data set: its own, the one that was named, the library's caches."""
    files = [Path(file["filename"]) for part in whole for file in part.cache_files]
    named = Path(name).expanduser()
    config = datasets.config
    hub = importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE
    caches = [config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, hub]
    folders = [*(file.parent for file in files), *map(Path, caches)]
    return {folder.resolve() for folder in ([*folders, named] if named.is_dir() else folders)}


def _parts(datasets: Any, name: str, splits: list[str]) -> dict[str, Any]:
    """Return split → data set."""
    folder = Path(name).expanduser()
    saved = any((folder / f).is_file() for f in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            whole = datasets.load_from_disk(str(folder))
            whole = whole if isinstance(whole, dict) else {str(whole.split or "all"): whole}
            return {s: _slice(datasets, whole, s) for s in splits} if splits else dict(whole)
        if splits:
            return {s: datasets.load_dataset(name, split=s) for s in splits}
        return dict(datasets.load_dataset(name))
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"hf:{name} cannot be had: {reason}") from error


def _slice(datasets: Any, whole: dict[str, Any], split: str) -> Any:
    """Cut a data set from the disk as `load_dataset` would: "train[:40%]"."""
    word = naming.word(split)
    if word not in whole:
        raise ValueError(f"it has no split {word!r}, it has {', '.join(whole)}")
    if word == split:
        return whole[word]
    sizes = {word: len(whole[word])}
    (cut,) = datasets.ReadInstruction.from_spec(split).to_absolute(sizes)
    start, stop = cut.from_ or 0, sizes[word] if cut.to is None else cut.to
    return whole[word].select(range(start, stop))


def _label_column(datasets: Any, kinds: Mapping[str, Any]) -> str | None:
    """Return the column of labels: one of classes, else "label" where it is text or numbers."""
    classes = (k for k, kind in kinds.items() if isinstance(kind, datasets.ClassLabel))
    if (column := naming.label_column(classes)) is not None:
        return column
    dtype = getattr(kinds.get("label"), "dtype", "")
    plain = dtype in ("string", "large_string", "bool") or "int" in dtype
    return "label" if plain else None


def _labels(part: Any, column: str) -> list[str | None]:
    codes = part.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    names = getattr(part.features[column], "names", None)
    if names is None:
        return [None if value is None else str(value) for value in codes]
    return [None if code is None or code < 0 else names[code] for code in codes]


def _mtime_ns(part: Any) -> int:
    """Return when the newest of its files was written; 0 where it lies in memory only."""
    files = [Path(file["filename"]) for file in part.cache_files]
    return max((file.stat().st_mtime_ns for file in files), default=0)
