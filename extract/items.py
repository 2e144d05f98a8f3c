"""What the data set is: a folder → items, in one order on every machine.

    photos/cats/1.jpg                 class folders: the label is "cats"
    photos/train/cats/1.jpg           split folders over class folders
    photos/1.jpg                      a flat folder: no labels

Nothing is opened here; an item is a name, a size and a time. Items are sorted by path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.errors import InputError
from extract.splits import split_of_folder

NOT_ITEMS = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
)
"""Names, in lower case, that systems leave behind; names that begin with a dot likewise."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the data set."""

    path: str
    """Relative to the images' folder, with "/"."""
    label: str | None = None
    split: str | None = None
    """Given by its folder; None where `extract.splits` is to decide."""
    size: int = 0
    mtime_ns: int = 0
    trouble: str = ""
    """Why it cannot be read, where a look at its name and kind says so."""
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a folder, sorted by path, and what was passed over."""

    root: Path
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    """Sentences for people about files that are not items."""


def list_folder(root: Path) -> Listing:
    """List a folder of class folders, of split folders over class folders, or a flat one.

    Args:
        root: The folder. Links are followed only where they stay inside it.

    Raises:
        InputError: If there is no such folder, or nothing in it that could be an image.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise InputError(f"{root} {what}. IMAGES is a folder of images, such as photos/cats/1.jpg")
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
            items.extend(_item(root, e, name, None) for e in _walk(root, root / name, notes))
    if not items:  # no folders, or empty ones: a flat folder
        items.extend(_item(root, entry, None, None) for entry in files)
    elif files:
        shown = ", ".join(sorted(entry.name for entry in files)[:3])
        notes.append(f"{len(files)} files beside the folders are not items: {shown}")
    if not items:
        raise InputError(f"{root} holds no files. IMAGES is a folder such as photos/cats/1.jpg")
    return Listing(root, tuple(sorted(items, key=lambda item: item.path)), tuple(notes))


def list_files(root: Path) -> Listing:
    """List every file below a folder, wherever it lies, or one file: items without labels.

    Raises:
        InputError: If there is no such folder or file, or the folder holds no file.
    """
    root, notes = Path(root), list[str]()
    if root.is_file():
        facts = root.stat()
        item = Item(root.name, size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        return Listing(root.resolve().parent, (item,))
    if not root.is_dir():
        raise InputError(f"{root} does not exist. IMAGES is a folder of images, or one image")
    root = root.resolve()
    items = [_item(root, entry, None, None) for entry in _walk(root, root, notes)]
    if not items:
        raise InputError(f"{root} holds no files. IMAGES is a folder of images, or one image")
    return Listing(root, tuple(sorted(items, key=lambda item: item.path)), tuple(notes))


def _is_hidden(name: str) -> bool:
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
    shown = [entry for entry in entries if not _is_hidden(entry.name)]
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
        for entry in _walk(root, root / name / label, notes):
            yield _item(root, entry, label, split)


def _walk(root: Path, folder: Path, notes: list[str]) -> Iterator[os.DirEntry[str]]:
    """Yield every file below a folder. A link to a folder is noted and not entered."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        if _is_hidden(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, Path(entry.path), notes)
        elif entry.is_dir():
            shown = Path(entry.path).relative_to(root)
            notes.append(f"{shown} is a link to a folder and was not entered")
        else:
            yield entry


def _item(root: Path, entry: os.DirEntry[str], label: str | None, split: str | None) -> Item:
    path = Path(entry.path).relative_to(root).as_posix()
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
