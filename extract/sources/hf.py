"""A data set of Hugging Face's `datasets`: `hf:NAME_OR_PATH`, `hf:NAME[train[:40%]]` → items.

A path is what `save_to_disk` wrote, or a folder that `load_dataset` knows how to read. Images
are read as the bytes that the data set holds, and decoded as those of any file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from extract.errors import ImageError, InputError
from extract.items import Item, Listing
from extract.pixels import MAX_BYTES
from extract.reading import FileBytes, found
from extract.sources import naming
from extract.splits import split_of_folder


class Rows:
    """Reads items from data sets, by split and position."""

    def __init__(self, parts: dict[str, Any]) -> None:
        """`parts` maps splits to data sets whose one column is the images', not decoded."""
        self._parts = parts
        self._lock = threading.Lock()

    def read(self, item: Item) -> FileBytes:
        """Return the bytes of an image."""
        split, _, index = item.path.rpartition("/")
        part = self._parts[split]
        with self._lock:
            image = next(iter(part[int(index)].values())) or {}
        data = image.get("bytes")
        try:
            data = Path(image["path"]).read_bytes() if data is None else data
        except (OSError, KeyError, TypeError) as error:
            raise ImageError("read", getattr(error, "strerror", None) or "no bytes") from error
        if len(data) > MAX_BYTES:
            raise ImageError("read", f"{len(data)} bytes, more than {MAX_BYTES} are not read")
        return found(item, data)


def list_hf(text: str) -> Listing:
    """List the images of a data set.

    Raises:
        InputError: If `datasets` is not installed, or there is no such data set or split.
    """
    datasets = naming.library("datasets", "hf")
    name, splits = naming.parse(text)
    items: list[Item] = []
    parts: dict[str, Any] = {}
    for split, part in _parts(datasets, name, splits).items():
        kinds = part.features
        images = (k for k, kind in kinds.items() if isinstance(kind, datasets.Image))
        image = naming.only_image(images, name)
        column = naming.label_column(
            k for k, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)
        )
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
    return Listing(Path(), ordered, place=f"hf:{text}", source=Rows(parts))


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


def _labels(part: Any, column: str) -> list[str | None]:
    names = part.features[column].names
    codes = part.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    return [None if code is None or code < 0 else names[code] for code in codes]


def _mtime_ns(part: Any) -> int:
    """Return when the newest of its files was written; 0 where it lies in memory only."""
    files = [Path(file["filename"]) for file in part.cache_files]
    return max((file.stat().st_mtime_ns for file in files), default=0)
