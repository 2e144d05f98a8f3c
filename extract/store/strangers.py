"""What lies in a store and belongs to nothing: foreign by its name, or left over by a command."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path

from extract.errors import StoreError
from extract.store import header
from extract.store.header import FOLDERS
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store
from extract.store.snapshot_records import items_name

SHARD_NAME = r"[0-9a-f]{64}\.(zshard|h5)"
NAMES = {
    "shards": SHARD_NAME,
    "commits": r"[0-9a-f]{64}\.json",
    "snapshots": r"\d{6,}\.(json|([0-9a-f]{8}\.)?items\.parquet)",
    "probes": r"(ours|user|features)-[\w.-]+",
    "damaged": r".*",
    "tmp": r"[0-9a-f]{16}",
}
TOP = (header.NAME, header.COPY)


def foreign(store: Store) -> Iterator[str]:
    """Yield what has no business in a store: by name, by kind, or by depth."""
    if not isinstance(store.files, ObjectFiles):
        yield from _foreign_on_disk(Path(store.path))
        return
    for name in store.files.everything():
        folder, _, inner = name.rpartition("/")
        known = bool(re.fullmatch(NAMES[folder], inner)) if folder in FOLDERS else name in TOP
        if not known:
            yield name


def _foreign_on_disk(path: Path) -> Iterator[str]:
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and entry.name in FOLDERS:
            pattern = NAMES[entry.name]
            for inner in sorted(entry.iterdir()):
                plain = inner.is_file() and not inner.is_symlink()
                if not (plain and re.fullmatch(pattern, inner.name)):
                    yield f"{entry.name}/{inner.name}"
        elif entry.name not in TOP:
            yield entry.name


def leftovers(store: Store, named: Container[str]) -> Iterator[str]:
    """Yield a sentence on each kind of file that is left over but harms nothing.

    `named` are the shards that a record names, or that are told of as damaged.
    """
    loose = [f"shards/{name}" for name in store.files.list("shards")]
    loose = [name for name in loose if name not in named]
    if loose:
        yield f"{len(loose)} shards without a record, from a run that was stopped"
    tables = set()
    for number in store.snapshots.numbers():
        try:
            tables.add(store.snapshots.read(number).items_file)
        except (StoreError, OSError):
            tables.add(items_name(number))
    for name in sorted({f"snapshots/{n}" for n in store.snapshots.tables()} - tables):
        yield f"{name} is without its record: a run was stopped, or it was removed"
    for folder, what in (("tmp", "scratch files"), ("damaged", "files set aside")):
        if names := store.files.list(folder):
            yield f"{len(names)} {what} in {folder}/"
