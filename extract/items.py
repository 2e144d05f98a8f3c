"""What the data set is: items, in one order on every machine; and how a folder becomes items.

    photos/cats/1.jpg                 class folders: the label is "cats"
    photos/train/cats/1.jpg           split folders over class folders
    photos/1.jpg                      a flat folder: no labels

Nothing is opened here; an item is a name, a size and a time. Items are sorted by path.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from extract.errors import InputError
from extract.splits import split_of_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from extract.parts import Part
    from extract.reading import FileBytes

NOT_ITEMS = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
)
"""Names, in lower case, that systems leave behind; names that begin with a dot likewise."""

FILES = frozenset({".csv", ".parquet", ".npz", ".npy", ".zip", ".tar"})
"""Kinds of files that hold or name images, in lower case."""
RECORDS = ("store.json", "model.json")
"""Sealed records that say what a folder of ours is, by their kind."""
_RECORD_BYTES = 1 << 24
"""A larger file of such a name is somebody else's."""
_MODEL = (
    "is a model, no folder of images. IMAGES is a folder such as photos/cats/1.jpg. To label "
    "images with the model: python -m heads predict {0} IMAGES"
)
NO_IMAGES = {
    "store": "is a store, no folder of images. IMAGES is a folder such as photos/cats/1.jpg. To "
    "see what the store holds: python -m extract info {0}",
    "model": _MODEL,
    "finetuned": _MODEL,
}
"""Kind of such a record → why its folder is not one of images."""
SCHEMES = frozenset({"tfds", "hf"})
"""Words before the colon of a data set's name, such as tfds:mnist."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the data set."""

    path: str
    """Its name: unique, with "/"; for a file, relative to the images' folder."""
    label: str | None = None
    split: str | None = None
    """Given by its folder or table; None where `extract.splits` is to decide."""
    size: int = 0
    """In bytes; 0 where only reading tells."""
    mtime_ns: int = 0
    """When the file that holds it was last written; 0 where nothing says so, and then it is read
    on every run."""
    trouble: str = ""
    """Why it cannot be read, where a look at its name and kind says so."""
    group: str | None = None


class Source(Protocol):
    """Where items are read from, where they are not files of a folder."""

    def read(self, item: Item) -> FileBytes:
        """Return an item's bytes, or its pixels; called from several threads at once.

        Raises:
            ImageError: With stage "read", if it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a data set, sorted by path, and what was passed over."""

    root: Path
    """The folder of the images, or of the file that holds them."""
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    """Sentences for people about files that are not items."""
    place: str = ""
    """What was listed, where that is not the folder itself: a table, an archive, a name."""
    source: Source | None = None
    """Where items are read; None for the files of the folder."""
    further: pa.Table | None = None
    """Further columns of the user, a row for each item."""
    folder: str = ""
    """Where a table's images are, if that is a bucket."""
    lanes: int = 0
    """How many reads at once suit the source; 0 for one per core."""
    part: Part | None = None
    """Which share of a longer listing these items are; None for all of it."""

    @property
    def name(self) -> str:
        """What was listed, for messages."""
        return self.place or str(self.root)

    @property
    def inside(self) -> str:
        """The place in which nothing else may be: that of the images, if it was listed whole."""
        if self.place:
            return self.place if self.lanes and not self.folder else ""
        return str(self.root)

    @property
    def found_at(self) -> dict[str, str]:
        """Where a later run finds it again: what to list, and the folder of a table's paths."""
        if self.folder or (self.place and self.source is None):
            return {"images": self.place, "folder": self.folder or str(self.root)}
        return {"images": self.name}


def list_folder(root: Path) -> Listing:
    """List a folder of class folders, of split folders over class folders, or a flat one.

    Args:
        root: The folder. Links are followed only where they stay inside it.

    Raises:
        InputError: If there is no such folder, it is a store or a model, or nothing in it could
            be an image.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise InputError(
            f"{root} {what}. IMAGES is a folder of images, such as photos/cats/1.jpg, or a "
            f".csv, .parquet, .npz, .npy, .zip or .tar file, or tfds:NAME or hf:NAME"
        )
    _check_images(root)
    root = root.resolve()
    notes: list[str] = []
    folders, files = _top_level(root, notes)
    splits = [split_of_folder(name) for name in folders]
    has_splits = bool(folders) and all(splits) and _all_hold_folders(root, folders)
    items: list[Item] = []
    for name, split in zip(folders, splits, strict=True):
        if has_splits:
            items.extend(_split_items(root, name, split, notes))
        else:
            items.extend(_item(root, path, e, name, None) for path, e in _walk(root, name, notes))
    if not items:  # no folders, or empty ones: a flat folder
        items.extend(_item(root, entry.name, entry, None, None) for entry in files)
    elif files:
        shown = ", ".join(sorted(entry.name for entry in files)[:3])
        notes.append(f"{len(files)} files beside the folders are not items: {shown}")
    if not items:
        raise InputError(f"{root} holds no files. IMAGES is a folder such as photos/cats/1.jpg")
    return Listing(root, tuple(sorted(items, key=lambda item: item.path)), tuple(notes))


def list_files(root: Path) -> Listing:
    """List every file below a folder, wherever it lies, or one file: items without labels.

    Raises:
        InputError: If there is no such folder or file, or the folder is a store or a model, or
            holds no file.
    """
    root, notes = Path(root), list[str]()
    if root.is_file():
        facts = root.stat()
        item = Item(root.name, size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        return Listing(root.resolve().parent, (item,))
    if not root.is_dir():
        raise InputError(f"{root} does not exist. IMAGES is a folder of images, or one image")
    _check_images(root)
    root = root.resolve()
    items = [_item(root, path, entry, None, None) for path, entry in _walk(root, "", notes)]
    if not items:
        raise InputError(f"{root} holds no files. IMAGES is a folder of images, or one image")
    return Listing(root, tuple(sorted(items, key=lambda item: item.path)), tuple(notes))


def _check_images(folder: Path) -> None:
    """Raise `InputError` for a store or a model, which hold pictures and files of their own."""
    for record in map(folder.joinpath, RECORDS):
        try:
            kind = _kind_of(record) if record.is_file() else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # somebody else's
            continue
        if isinstance(kind, str) and kind in NO_IMAGES:
            raise InputError(f"{folder} {NO_IMAGES[kind].format(folder)}")


def _kind_of(record: Path) -> Any:
    with open(record, "rb") as file:
        return json.loads(file.read(_RECORD_BYTES))["kind"]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is no item."""
    return name.startswith(".") or name.lower() in NOT_ITEMS


def _top_level(
    folder: Path, notes: list[str] | None = None
) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Return (names of folders, entries of files), sorted, without what is hidden.

    A link to a folder is noted and is neither.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
    shown = [entry for entry in entries if not is_hidden(entry.name)]
    links = [e.name for e in shown if e.is_symlink() and e.is_dir()]
    if notes is not None:
        notes.extend(f"{name} is a link to a folder and was not entered" for name in links)
    folders = [
        e.name for e in shown if e.is_dir(follow_symlinks=False) and not _is_store(Path(e.path))
    ]
    return folders, [entry for entry in shown if not entry.is_dir()]


def _is_store(folder: Path) -> bool:
    return folder.suffix == ".features" and (folder / "store.json").exists()


def _all_hold_folders(root: Path, folders: list[str]) -> bool:
    return all(_top_level(root / name)[0] for name in folders)


def _split_items(root: Path, name: str, split: str | None, notes: list[str]) -> Iterator[Item]:
    labels, files = _top_level(root / name, notes)
    if files:
        notes.append(f"{len(files)} files in {name} beside its class folders are not items")
    for label in labels:
        for path, entry in _walk(root, f"{name}/{label}", notes):
            yield _item(root, path, entry, label, split)


def _walk(root: Path, folder: str, notes: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (path, entry) of every file below a folder of the root, or below the root itself.

    A link to a folder is noted and not entered. Paths are joined as text: a `Path` for each file
    would take as long as all the rest.
    """
    try:
        entries = list(os.scandir(root / folder))
    except OSError as error:
        raise InputError(f"{root / folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        if is_hidden(entry.name):
            continue
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path, notes)
        elif entry.is_dir():
            notes.append(f"{path} is a link to a folder and was not entered")
        else:
            yield path, entry


def _item(
    root: Path, path: str, entry: os.DirEntry[str], label: str | None, split: str | None
) -> Item:
    try:
        path.encode()
    except UnicodeEncodeError:
        path = path.encode(errors="backslashreplace").decode()
        return Item(path, _text(label), split, trouble="its name is not UTF-8: rename it")
    try:
        facts = entry.stat()
    except OSError as error:
        return Item(path, label, split, trouble=error.strerror or "cannot be looked at")
    trouble = ""
    if not stat.S_ISREG(facts.st_mode):
        trouble = "not a regular file"
    elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
        trouble = "a link that leaves the folder of images"
    return Item(path, label, split, facts.st_size, facts.st_mtime_ns, trouble)


def _text(label: str | None) -> str | None:
    return None if label is None else label.encode(errors="backslashreplace").decode()
