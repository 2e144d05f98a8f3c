"""What a store knows already: its recipe, rows, files read, and the order of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa

from extract.assemble import Place
from extract.items import Item
from extract.recipe import Column
from extract.store import header
from extract.store.commits import HAS_FEATURES, Commit, Commits, name_of
from extract.store.files import each
from extract.store.opening import Store
from extract.store.shards import Format, Grid, damaged, format_of
from extract.store.snapshot_records import SnapshotRecord

Stamped = tuple[str, int, int]
"""(path, size, mtime_ns): a file that still has all three is taken to have the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The state of a store before a run; empty where there is none."""

    head: header.Header | None = None
    """None before the first run, and where a damaged one was set aside: then commits speak."""
    commits: dict[str, Commit] = field(default_factory=dict)
    """Every commit by its digest; a run adds its own."""
    previous: SnapshotRecord | None = None
    """The newest snapshot."""
    items: pa.Table | None = None
    """Its items."""
    reads: Mapping[Stamped, str] = field(default_factory=dict)
    """A file as it was read → its image key."""
    order: tuple[str, ...] = ()
    """Image keys of the newest snapshot's rows, in row order."""
    grids: Mapping[str, Grid] = field(default_factory=dict)
    """How columns are cut, by their canonical text, where that was decided elsewhere."""

    def lean(self) -> Known:
        """Return the same without what commits say of files: `reads` says it once for all."""
        commits = {digest: replace(commit, reads=()) for digest, commit in self.commits.items()}
        return replace(self, commits=commits)

    def key_of(self, item: Item) -> str | None:
        """Return the image key of an item that was read before, told by path, size and time."""
        if not item.mtime_ns or item.trouble:
            return None
        return self.reads.get((item.path, item.size, item.mtime_ns))

    def places(self, column: Column, decoder: str) -> dict[str, Place]:
        """Map image keys to known rows of a column.

        Rows of pictures that another decoder refused are left out: this one may read them.
        """
        judged = self.previous.decoder if self.previous else ""
        good: dict[str, Place] = {}
        refused: dict[str, Place] = {}
        for commit in self.commits.values():
            if commit.column.canonical == column.canonical:
                for index, row in enumerate(commit.rows):
                    if row.status in HAS_FEATURES:
                        good[row.image_key] = Place(commit, index)
                    elif row.status == "undecodable" and decoder in (commit.decoder, judged):
                        refused[row.image_key] = Place(commit, index)
        return refused | good  # what one decoder could read, another does not unread

    @property
    def format(self) -> Format:
        """Format of the shards that the newest snapshot ends with; without one, of all."""
        if self.previous is None:
            return format_of(commit.ref for commit in self.commits.values())
        return format_of(ref for column in self.previous.columns for ref in column.refs[-1:])

    def grid(self, column: Column, row_shape: tuple[int, ...]) -> Grid:
        """Return how a column is cut: as it always was in this store, else as it is today."""
        if column.canonical in self.grids:
            return self.grids[column.canonical]
        for commit in self.commits.values():
            if commit.column.canonical == column.canonical:
                return commit.ref.grid
        return Grid.of(row_shape, column.dtype)


def read_known(store: Store) -> Known:
    """Read a store's state.

    Raises:
        DamagedStoreError: If a record is altered, or a shard is missing or short.
    """
    head = header.read(store.files)
    records = Commits(store.files)
    digests = records.digests()
    found = dict(zip(digests, each(store.files.lanes, records.read, digests), strict=True))
    for digest, commit in found.items():
        if head is not None and commit.recipe_key != head.recipe.key:
            raise damaged(name_of(digest), "belongs to another recipe")
    each(store.files.lanes, partial(_check_present, store), found.values())
    numbers = store.snapshots.numbers()
    previous = store.snapshots.read(numbers[-1]) if numbers else None
    items = None if previous is None else store.snapshots.items(previous)
    return Known(
        head=head,
        commits=found,
        previous=previous,
        items=items,
        reads=_reads(found, items),
        order=() if previous is None else _order(found, previous, items),
    )


def _check_present(store: Store, commit: Commit) -> None:
    try:
        size = store.files.stamp(commit.ref.file).size
    except FileNotFoundError as error:
        raise damaged(commit.ref.file, "is missing") from error
    if size != commit.ref.size:
        raise damaged(commit.ref.file, f"has {size} bytes, expected {commit.ref.size}")


def _reads(found: Mapping[str, Commit], items: pa.Table | None) -> dict[Stamped, str]:
    """Map files as they were read to image keys; where commits disagree, nobody is believed."""
    reads: dict[Stamped, str] = {}
    doubtful = set()
    for read in (read for commit in found.values() for read in commit.reads):
        stamped = (read.path, read.size, read.mtime_ns)
        if reads.setdefault(stamped, read.image_key) != read.image_key:
            doubtful.add(stamped)
    for stamped in doubtful:
        del reads[stamped]
    if items is not None:  # the newest word; piece by piece, and what is equal is not held twice
        chosen = items.select(["path", "size", "mtime_ns", "image_key"])
        for batch in chosen.to_batches(max_chunksize=1 << 16):
            for *facts, key in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                stamped = (facts[0], facts[1], facts[2])
                if key is not None and reads.get(stamped) != key:
                    reads[stamped] = key
    return reads


def _order(
    found: Mapping[str, Commit], previous: SnapshotRecord, items: pa.Table
) -> tuple[str, ...]:
    """Recover the keys of the rows in order: from any column's commits, else from the items.

    A row that neither knows belonged to a shard that was set aside as damaged and to no item.
    """
    order: dict[int, str] = {}
    for column in previous.columns:
        start = 0
        for digest, ref in zip(column.digests, column.refs, strict=True):
            if digest in found:
                order |= {start + i: row.image_key for i, row in enumerate(found[digest].rows)}
            start += ref.rows
    for row, key in zip(items["row"].to_pylist(), items["image_key"].to_pylist(), strict=True):
        if row >= 0:
            order.setdefault(row, key)
    return tuple(order[row] for row in sorted(order))
