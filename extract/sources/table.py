"""A CSV or Parquet table that names image files → items.

    path,label,split,group,taken          `path` alone is needed
    cats/1.jpg,cat,train,cam-3,2024-05    further columns are kept beside the items

Paths are relative to the table's folder, or to `--images`, and never lead outside it, not even
through a link. A file that is missing is an item that cannot be read, as in a folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from extract.errors import InputError
from extract.items import Item, Listing
from extract.splits import NAMES, split_of_folder
from extract.store.item_tables import ITEM_SCHEMA
from extract.tables import check_columns, check_paths, read_table, texts, tidy

OURS = ("path", "label", "split", "group")


def list_table(path: Path, root: Path | None = None) -> Listing:
    """List the items of a table.

    Args:
        path: A `.csv` in UTF-8, or a `.parquet` file.
        root: The folder that paths are relative to; by default the table's.

    Raises:
        InputError: If the table cannot be used; it says which column or row is why.
    """
    listing = list_rows(path, read_table(path), (root or path.parent).resolve())
    return replace(listing, place=str(path.resolve()))


def list_rows(
    path: str | Path,
    table: pa.Table,
    root: Path,
    found: Mapping[str, tuple[int, int]] | None = None,
) -> Listing:
    """List the items of a table that was read already.

    Args:
        path: Its name, for messages.
        table: Its rows.
        root: The folder that paths are relative to.
        found: Where they are no files of a folder: path → (size, mtime_ns) of all that is there.

    Raises:
        InputError: As `list_table` does.
    """
    check_columns(path, table, "path")
    for name in table.column_names:
        check_columns(path, table, name)
    paths = [None if p is None else tidy(p) for p in texts(table, "path")]
    check_paths(path, paths)
    if not paths:
        raise InputError(f"{path} has no rows. Give it one for each image")
    if found is None and not root.is_dir():
        raise InputError(f"--images {root} is no folder. Give the folder of the table's paths")
    labels, splits, groups = (texts(table, name) for name in OURS[1:])
    items = _items(path, root, found, [str(p) for p in paths], labels, splits, groups)
    order = sorted(range(len(items)), key=lambda i: items[i].path)
    taken = [n for n in table.column_names if n in ITEM_SCHEMA.names and n not in OURS]
    further = table.drop_columns([n for n in table.column_names if n in OURS or n in taken])
    notes = []
    if taken:
        notes.append(
            f"Columns that have names of the store's own are not kept: {', '.join(taken)}. "
            f"Rename them to keep them"
        )
    return Listing(
        root,
        tuple(items[i] for i in order),
        tuple(notes),
        further=further.take(order) if further.num_columns else None,
    )


def _items(
    table: str | Path,
    root: Path,
    found: Mapping[str, tuple[int, int]] | None,
    paths: Sequence[str],
    labels: Sequence[str | None],
    splits: Sequence[str | None],
    groups: Sequence[str | None],
) -> list[Item]:
    named = {cell: _split(table, cell) for cell in set(splits)}
    inside: dict[str, bool] = {}
    rows = zip(paths, labels, splits, groups, strict=True)
    if found is not None:
        return [
            _found(found, path, label, named[split], group) for path, label, split, group in rows
        ]
    return [
        _item(table, root, inside, path, label, named[split], group)
        for path, label, split, group in rows
    ]


def _found(
    found: Mapping[str, tuple[int, int]],
    path: str,
    label: str | None,
    split: str | None,
    group: str | None,
) -> Item:
    if path not in found:
        return Item(path, label, split, trouble="There is no such object", group=group)
    return Item(path, label, split, *found[path], group=group)


def _split(table: str | Path, cell: str | None) -> str | None:
    if cell is None or split_of_folder(cell):
        return None if cell is None else split_of_folder(cell)
    words = ", ".join(word for words in NAMES.values() for word in words)
    raise InputError(f"{table} has split {cell!r}. Expected one of {words}, or an empty cell")


def _item(
    table: str | Path,
    root: Path,
    inside: dict[str, bool],
    path: str,
    label: str | None,
    split: str | None,
    group: str | None,
) -> Item:
    full = os.path.join(root, path)
    folder = os.path.dirname(full)
    if folder not in inside:  # one look for all files of a folder
        inside[folder] = _is_inside(root, folder)
    try:
        facts = os.lstat(full)
        linked = stat.S_ISLNK(facts.st_mode)
        leaves = not inside[folder] or (linked and not _is_inside(root, full))
        facts = os.stat(full) if linked and not leaves else facts
    except (OSError, ValueError) as error:  # a name may hold a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        return Item(path, label, split, trouble=reason, group=group)
    if leaves:
        raise InputError(
            f"{table} names {path!r}, a link that leaves {root}. Give paths of files in that "
            f"folder, or another one with --images"
        )
    trouble = "" if stat.S_ISREG(facts.st_mode) else "not a regular file"
    return Item(path, label, split, facts.st_size, facts.st_mtime_ns, trouble, group)


def _is_inside(root: Path, path: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)
