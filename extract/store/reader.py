"""How features and labels leave a store: only together, only verified, in item order."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from extract.errors import InputError
from extract.recipe import Column, Recipe
from extract.splits import SPLITS
from extract.store import header
from extract.store.commits import HAS_FEATURES
from extract.store.files import each, read_errors
from extract.store.shards import FeatureShards
from extract.store.snapshot_records import SnapshotColumn, SnapshotRecord

if TYPE_CHECKING:
    from extract.store.loading import TorchRows

Bad = Literal["drop", "keep", "error"]
READ_AHEAD = 32 << 20
"""Bytes of rows that are read at once where batches are smaller: in file order, so fewer reads."""


@dataclass(frozen=True, slots=True, repr=False)
class Data:
    """Features, labels and items that belong together, row by row."""

    X: np.ndarray
    """(n, d) features, or (n, height, width, channels) where the column is not pooled; float32
    or float16, as kept on disk."""
    y: np.ndarray | None
    """(n,) int64 positions in `Snapshot.classes`, -1 where an item has no label; None where no
    item of the snapshot has one."""
    items: pa.Table
    """n rows: path, image_key, label, split, group, status and more; `.to_pandas()` works."""

    def __len__(self) -> int:
        return len(self.X)

    def split(self, rows: int) -> Iterator[Data]:
        """Yield pieces of so many rows, the last one shorter; nothing is copied."""
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            y = None if self.y is None else self.y[part]
            yield Data(self.X[part], y, self.items.slice(first, rows))

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else f"y {self.y.shape} {self.y.dtype}"
        return f"Data(X {self.X.shape} {self.X.dtype}, {labels}, {len(self)} items)"

    def _repr_html_(self) -> str:
        from extract.notebook import table

        names = ["path", "label", "split", "group", "status"]
        first = self.items.slice(0, 8).select(names).to_pylist()
        shown = table(names, [list(row.values()) for row in first])
        return f"<p>{html.escape(repr(self))}</p>{shown}"


class Snapshot:
    """A sealed state of a store, opened for reading.

    Use `open_store` to get one. Every file is checked against its SHA-256 the first time that
    rows of it are read.
    """

    def __init__(
        self,
        path: str,
        shards: FeatureShards,
        head: header.Header,
        record: SnapshotRecord,
        items: pa.Table,
    ) -> None:
        self.path = path
        self.number = record.number
        self.items = items
        """Every item, the bad ones too, in item order."""
        self.recipe: Recipe = head.recipe
        self.signature = head.signature
        self.backbone = head.backbone
        self.distance = record.distance
        """Relative distance to float32 on the probes, where precision is another."""
        self.classes: tuple[str, ...] = record.classes
        """Names of the labels, sorted; `Data.y` counts in them."""
        self.columns: tuple[Column, ...] = tuple(c.column for c in record.columns)
        self.root_digest = record.root_digest
        self.items_digest = record.items_digest
        self.record = record
        self._shards = shards

    def __repr__(self) -> str:
        columns = ", ".join(column.name for column in self.columns)
        return (
            f"Snapshot({self.path!r}, number={self.number}, items={self.items.num_rows}, "
            f"columns=[{columns}], root_digest={self.root_digest[:12]}…)"
        )

    def find(self, column: str | None = None) -> Column:
        """Return the column that a name stands for; the only plain one where there is no name.

        Raises:
            InputError: If there is no such column, or there are several.
        """
        return self._column(column).column

    def row_shape(self, column: str | None = None) -> tuple[int, ...]:
        """Return the shape of one row of a column, such as (1280,)."""
        return self._column(column).row_shape

    def load(
        self, split: str | None = "train", column: str | None = None, bad: Bad = "drop"
    ) -> Data:
        """Return the features, labels and items of a split, in item order.

        Args:
            split: "train", "validation" or "test"; None for every item.
            column: A column's name, such as "out_relu:avg"; not needed where there is one. Views
                other than the plain one are columns of their own, such as "out_relu:avg:view1".
            bad: Items without features are dropped, kept as rows of NaN, or an error.

        Returns:
            One row per item: copies of an image repeat its row.

        Raises:
            InputError: If there is no such split or column, or `bad="error"` and there is one.
            DamagedStoreError: If a file is not what was sealed.
        """
        return self._take(self._chosen(split, bad), self._column(column))

    def batches(
        self,
        split: str | None = "train",
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        *,
        column: str | None = None,
        bad: Bad = "drop",
    ) -> Iterator[Data]:
        """Yield what `load` returns in pieces of `batch_size` rows, the last one shorter.

        With `shuffle`, the order is a permutation that `seed` alone decides.
        """
        _check_batch_size(batch_size)
        chosen, kept = self._chosen(split, bad), self._column(column)
        if shuffle:
            chosen = np.random.default_rng(seed).permutation(chosen)
        row_bytes = max(1, kept.refs[0].grid.row_bytes if kept.refs else 1)
        ahead = batch_size * max(1, READ_AHEAD // (batch_size * row_bytes))
        for first in range(0, len(chosen), ahead):
            yield from self._take(chosen[first : first + ahead], kept).split(batch_size)

    def to_tf_dataset(
        self,
        split: str | None = "train",
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        *,
        column: str | None = None,
    ) -> Any:
        """Return what `batches` yields as a `tf.data.Dataset`, without items.

        Returns:
            Batches (X, y), or X alone where no item has a label: X (b, d) of the column's type,
            y (b,) int64, -1 where an item has no label. With `shuffle`, each pass has another
            order, which `seed` decides. Bad items are left out.

        Raises:
            InputError: If there is no such split or column.
        """
        from extract.store.loading import tf_dataset

        _check_batch_size(batch_size)
        return tf_dataset(self, split, batch_size, shuffle, seed, column)

    def to_torch(self, split: str | None = "train", *, column: str | None = None) -> TorchRows:
        """Return the rows of a split as a data set for `torch.utils.data.DataLoader`.

        Returns:
            (features, class) by position, or features alone where no item has a label: a tensor
            of the column's type, and an int64, -1 without a label. Bad items are left out.

        Raises:
            InputError: If there is no such split or column.
        """
        from extract.store.loading import TorchRows

        chosen, kept = self.rows(split), self._column(column)
        return TorchRows(lambda rows: self._take(chosen[rows], kept), len(chosen))

    def rows(self, split: str | None = "train") -> np.ndarray:
        """Return the positions in `items` of a split's good items, rising, (n,) int64."""
        return self._chosen(split, "drop")

    def _repr_html_(self) -> str:
        from extract.information import information
        from extract.notebook import table

        facts = information(self)
        splits, classes = facts["items_per_split"], facts["items_per_class"]
        columns = table(
            ["column", "row", "type", "KiB per image"],
            [[c["name"], c["row_shape"], c["dtype"], c["kib"]] for c in facts["columns"]],
        )
        items = table(
            ["items", *splits, "all"],
            [
                *[[name, *of.values(), sum(of.values())] for name, of in classes.items()],
                ["all", *splits.values(), facts["items"]],
            ],
        )
        head = table(
            [f"{facts['store']}, snapshot {facts['snapshot']}", ""],
            [
                ["backbone", facts["backbone"].get("name")],
                ["image size", self.recipe.pixels.image_size],
                ["bytes", facts["bytes"]],
                ["bad items", facts["bad"]],
                ["root digest", f"{self.root_digest[:16]}…"],
            ],
        )
        return head + columns + items

    def take(self, rows: np.ndarray, column: str | None = None) -> np.ndarray:
        """Return rows of a column by their numbers, as `items` has them: (n, *row_shape).

        Raises:
            InputError: If there is no such column, or no such row, or rows are no whole numbers.
            DamagedStoreError: If a file is not what was sealed.
        """
        kept, rows = self._column(column), _row_numbers(rows)
        total = sum(ref.rows for ref in kept.refs)
        if len(rows) and not 0 <= int(np.min(rows)) <= int(np.max(rows)) < total:
            raise InputError(f"{self.path} has rows 0 to {total - 1}. Received: others")
        with read_errors(self.path):
            return gather(self._shards, kept, rows)

    def _column(self, name: str | None) -> SnapshotColumn:
        columns = self.record.columns
        exact = [c for c in columns if name == c.column.name]
        plain = [c for c in columns if c.column.view == 0]
        found = exact or [c for c in columns if name in c.column.short_names]
        if name is None:
            found = plain
        if len(found) != 1:
            names = ", ".join(repr(c.column.name) for c in columns)
            what = "may be several columns" if found else "is no column"
            told = f"column {name!r} {what}" if name is not None else "There are several columns"
            raise InputError(f"{told}. Give one of {names}")
        return found[0]

    @property
    def part_of_what(self) -> str:
        """The beginning of a sentence about a snapshot of a part, with the cure."""
        part = self.record.part
        return (
            f"{self.path} is part {part} of its images, and who is train, validation and test is "
            f"open until all parts are one store. Type: python -m extract merge PARTS… --store C"
        )

    def _chosen(self, split: str | None, bad: Bad) -> np.ndarray:
        """Return positions of items, rising."""
        if bad not in get_args(Bad):
            raise InputError(f"bad is one of {', '.join(get_args(Bad))}. Received: {bad!r}")
        chosen = np.ones(self.items.num_rows, bool)
        if split is not None:
            splits = self.items["split"].to_numpy(zero_copy_only=False)
            chosen = splits == split
            if not chosen.any():
                if self.record.part is not None and split in SPLITS:
                    raise InputError(self.part_of_what)
                known = ", ".join(sorted({str(s) for s in splits if s is not None}))
                raise InputError(f"split is one of {known or 'none'}. Received: {split!r}")
        good = np.isin(self.items["status"].to_numpy(zero_copy_only=False), list(HAS_FEATURES))
        if bad == "drop":
            chosen &= good
        elif bad == "error" and (chosen & ~good).any():
            first = int(np.argmax(chosen & ~good))
            raise InputError(f"{self.items['path'][first].as_py()} is bad; see bad_images.csv")
        return np.flatnonzero(chosen)

    def _take(self, chosen: np.ndarray, kept: SnapshotColumn) -> Data:
        items = self.items.take(pa.array(chosen))
        rows = items["row"].to_numpy()
        with read_errors(self.path):
            features = gather(self._shards, kept, rows)
        return Data(features, self._codes[chosen] if self.classes else None, items)

    @cached_property
    def _codes(self) -> np.ndarray:
        """Positions of all items' labels in `classes`, -1 where there is none."""
        names = pa.array(self.classes, self.items["label"].type)
        codes = pc.index_in(self.items["label"], value_set=names).fill_null(-1)
        return codes.to_numpy().astype(np.int64)


def _row_numbers(rows: np.ndarray) -> np.ndarray:
    """Return rows as int64; a mask, whose values would be the rows 0 and 1, is refused."""
    rows = np.asarray(rows)
    if len(rows) and rows.dtype.kind not in "iu":
        cure = ". For a mask, type np.flatnonzero(mask)" if rows.dtype == bool else ""
        raise InputError(f"Rows are whole numbers. Received: {rows.dtype}{cure}")
    return rows.astype(np.int64, copy=False)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size is at least 1. Received: {batch_size}")


def gather(shards: FeatureShards, kept: SnapshotColumn, rows: np.ndarray) -> np.ndarray:
    """Return the given rows of a column as (len(rows), *row_shape), NaN where a row is -1."""
    out = np.empty((len(rows), *kept.row_shape), kept.column.dtype)
    starts = np.cumsum([0] + [ref.rows for ref in kept.refs])
    order = np.argsort(rows, kind="stable")
    rising = rows[order]
    cuts = np.searchsorted(rising, starts)
    if cuts[-1] < len(rows):
        raise IndexError(f"the column has rows 0 to {starts[-1]}. Received: {rising[-1]}")
    out[order[: cuts[0]]] = np.nan

    def take(shard: int) -> None:
        part = slice(cuts[shard], cuts[shard + 1])
        shards.take(kept.refs[shard], rising[part] - starts[shard], out, order[part])

    each(shards.lanes, take, np.flatnonzero(np.diff(cuts)).tolist())  # that has some, once
    return out
