"""Features and labels of a store as heads want them: (n, d) float32, codes, items.

Several columns stand side by side in the order in which they were named; maps are flattened.
Rows without a label or without features are left out and counted. What no head could be trained
on (no labels, one class, a class that training never sees) is refused here, for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from extract.csv_cells import is_number
from extract.places import resolved
from extract.recipe import Column
from extract.run_words import run_command
from extract.splits import SPLITS
from extract.store.commits import HAS_FEATURES
from extract.store.opening import open_store
from extract.store.reader import Data, Snapshot
from heads.errors import HeadError
from heads.names import listed
from heads.targets import SEPARATOR, Target, known

ROWS = 4096
"""Rows of one block of a stream."""


@dataclass(frozen=True)
class Source:
    """The labeled rows of a snapshot, split by split."""

    snapshot: Snapshot
    columns: tuple[Column, ...]
    """Plain columns (view 0), in the order in which their features stand."""
    target: Target | None = None
    """What is learned, where it is not the class in the column "label"."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, labels or numbers that are learned; codes count in them."""
        return self.snapshot.classes if self.target is None else self.target.names

    @property
    def origin(self) -> dict[str, Any]:
        """The fields of a model that say what it was trained on: its store, and the rows."""
        snapshot = self.snapshot
        return {
            "store": {
                "path": resolved(snapshot.path),
                "snapshot": snapshot.number,
                "root_digest": snapshot.root_digest,
                "items_digest": snapshot.items_digest,
                "distance_to_float32": snapshot.distance,
            },
            "splits": {split: self.count(split) for split in self.splits},
        }

    @cached_property
    def width(self) -> int:
        """Features of a row, d."""
        return sum(int(np.prod(self.snapshot.row_shape(c.name))) for c in self.columns)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that hold at least one labeled row with features."""
        return tuple(s for s in SPLITS if self.count(s))

    def count(self, split: str) -> int:
        """Return how many rows of a split can be used."""
        return int(self._usable[self._in(split)].sum())

    def items(self, split: str) -> pa.Table:
        """Return the items of a split that can be used, in item order.

        Raises:
            HeadError: If there is none.
        """
        self.check_split(split)
        return self.snapshot.items.filter(pa.array(self._usable & self._in(split)))

    def codes(self, items: pa.Table) -> np.ndarray:
        """Return the class of each of some items that can be used, (n,) int64 in `classes`.

        Of several labels or numbers, what `Target.of` gives.
        """
        if self.target is not None:
            return self.target.of(items)
        places = {name: code for code, name in enumerate(self.classes)}
        return np.array([places[label] for label in items["label"].to_pylist()], np.int64)

    def left_out(self, split: str | None = None) -> dict[str, int]:
        """Return how many items of a split, or of all, cannot be used: "bad" or "unlabeled"."""
        good = _good(self.snapshot.items)
        inside = np.ones(len(good), bool) if split is None else self._in(split)
        return {
            "bad": int((inside & ~good).sum()),
            "unlabeled": int((inside & good & ~self._usable).sum()),
        }

    def load(self, split: str) -> Data:
        """Return X (n, d) float32, y (n,) int64 and the items of a split, in item order.

        Raises:
            HeadError: If the split holds no row that can be used.
        """
        self.check_split(split)
        parts = [self.snapshot.load(split, column.name) for column in self.columns]
        return self._labeled(side_by_side(parts))

    def load_views(self, split: str) -> np.ndarray:
        """Return (views, n, d) float32: every cached view of each row that `load` gives."""
        self.check_split(split)
        return np.stack(
            [
                self._labeled(
                    side_by_side([self.snapshot.load(split, column.name) for column in columns])
                ).X
                for columns in self.views
            ]
        )

    @property
    def views(self) -> list[tuple[Column, ...]]:
        """The columns of each view that all of `columns` have; the first is `columns`."""
        kept = {(c.operation, c.pooling, c.dtype, c.view): c for c in self.snapshot.columns}
        views = []
        for view in sorted({c.view for c in self.snapshot.columns}):
            found = [kept.get((c.operation, c.pooling, c.dtype, view)) for c in self.columns]
            if all(found):
                views.append(tuple(column for column in found if column is not None))
        return views

    def blocks(
        self, split: str, rows: int = ROWS, *, shuffle_seed: int | None = None
    ) -> Iterator[Data]:
        """Yield what `load` gives in pieces of at most `rows` rows: memory stays bounded.

        With `shuffle_seed` the rows come in an order that it alone decides; items are sorted by
        path, and so by class, otherwise.
        """
        self.check_split(split)
        shuffle, seed = shuffle_seed is not None, shuffle_seed or 0
        streams = [
            self.snapshot.batches(split, rows, shuffle, seed, column=column.name)
            for column in self.columns
        ]
        for parts in zip(*streams, strict=True):
            block = self._labeled(side_by_side(parts))
            if len(block):
                yield block

    def check_split(self, split: str) -> None:
        """Raise `HeadError` unless the split holds rows that can be used."""
        if split not in SPLITS or not self.count(split):
            known = ", ".join(self.splits) or "none"
            raise HeadError(
                f"{self.snapshot.path} has no labeled rows in split {split!r}. It has: {known}"
            )

    def _in(self, split: str) -> np.ndarray:
        return self.snapshot.items["split"].to_numpy(zero_copy_only=False) == split

    @cached_property
    def _usable(self) -> np.ndarray:
        items = self.snapshot.items
        if self.target is not None:
            return known(self.target.of(items)) & _good(items)
        labeled = items["label"].is_valid().to_numpy(zero_copy_only=False)
        return labeled & _good(items)

    def _labeled(self, data: Data) -> Data:
        """Return the rows that have an entry, with y as the target has it."""
        y = data.y if self.target is None else self.target.of(data.items)
        assert y is not None
        there = known(y)
        if there.all():
            return Data(data.X, y, data.items)
        return Data(data.X[there], y[there], data.items.filter(pa.array(there)))


def open_source(
    store: str | Path | Snapshot,
    columns: str | Sequence[str] = (),
    snapshot: int | None = None,
    target: Target | None = None,
) -> Source:
    """Open a store for training.

    Args:
        store: Its folder, or a snapshot that is open already.
        columns: Names of columns; not needed where the store has one.
        snapshot: Number of a snapshot; the newest by default.
        target: What is learned, where it is not the class in the column "label".

    Raises:
        StoreError: If the store cannot be opened.
        HeadError: If nothing in it has a label.
        InputError: If there is no such column.
    """
    opened = store if isinstance(store, Snapshot) else open_store(store, snapshot)
    if opened.record.part is not None:
        raise HeadError(opened.part_of_what)
    if target is None and not opened.classes:
        raise HeadError(
            f"{opened.path} has no labels, so there is nothing to learn. Put the images into one "
            f"folder per class, such as photos/cats/1.jpg, and type: "
            f"{run_command(opened.path, 'photos')}"
        )
    return Source(opened, chosen_columns(opened, columns), target)


def chosen_columns(snapshot: Snapshot, names: str | Sequence[str]) -> tuple[Column, ...]:
    """Return the plain columns that `names` stand for; the only one where none is named."""
    names = listed(names)
    plain = [column for column in snapshot.columns if column.view == 0]
    if not names and len(plain) > 1:
        shown = ", ".join(column.name for column in plain)
        raise HeadError(
            f"{snapshot.path} has several columns: give --column one or more of {shown}"
        )
    found = [snapshot.find(name) for name in names] if names else plain
    if augmented := [column.name for column in found if column.view]:
        raise HeadError(
            f"{augmented[0]} is an augmented view, and a head is for plain pictures. Give --column "
            f"{found[0].plain.name}: heads that train in epochs see its views by themselves"
        )
    if len(set(found)) != len(found):
        raise HeadError(f"--column names a column twice. Received: {', '.join(names)}")
    return tuple(found)


def check_classes(source: Source) -> None:
    """Raise `HeadError` where training could not learn every class.

    It names the class, and how many images of it each split has.
    """
    if len(source.classes) < 2:
        path = source.snapshot.path
        raise HeadError(
            f"{path} has one class, {source.classes[0]!r}, and a classifier needs two. Add a "
            f"folder of other images and type: {run_command(path, 'IMAGES')}"
        )
    source.check_split("train")
    items = source.snapshot.items.filter(pa.array(source._usable))
    names = (source.classes[code] for code in source.codes(items))
    pairs = Counter(zip(names, items["split"].to_pylist(), strict=True))
    for name in source.classes:
        if not pairs[name, "train"]:
            found = {split: pairs[name, split] for split in SPLITS if pairs[name, split]}
            where = ", ".join(f"{count} in {split}" for split, count in found.items()) or "none"
            raise HeadError(
                f"Class {name!r} has no image with features in train (it has {where}), so no head "
                f"could ever predict it. Add images of it to train, or leave the class out"
                f"{_other_task(source.classes)}"
            )


def _other_task(names: Sequence[str]) -> str:
    """Return what to type where labels look like none of classes."""
    if all(map(is_number, names)):
        return "; for labels that are numbers, give fit --regression"
    if any(SEPARATOR in name for name in names):
        return "; for several labels an image, give fit --multilabel"
    return ""


def check_validation(source: Source) -> None:
    """Raise `HeadError` where there are no validation rows to choose or to judge by."""
    if "validation" not in source.splits:
        path = source.snapshot.path
        raise HeadError(
            f"{path} has no validation rows, which decide here. Type: "
            f"python -m extract split {path} --ratios 0.7/0.15/0.15"
        )


def _good(items: pa.Table) -> np.ndarray:
    return np.isin(items["status"].to_numpy(zero_copy_only=False), list(HAS_FEATURES))


def side_by_side(parts: Sequence[Data]) -> Data:
    """Join columns of the same rows: (n, d) float32."""
    flat = [part.X.reshape(len(part.X), -1).astype(np.float32, copy=False) for part in parts]
    X = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
    return Data(X, parts[0].y, parts[0].items)
