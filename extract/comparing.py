"""What differs between two stores, or two snapshots: items, labels, features and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from extract.assemble import Place
from extract.engines.engine import relative_distance
from extract.errors import InputError
from extract.notebook import Shown
from extract.recipe import differences
from extract.rewriting import places_of
from extract.store.commits import HAS_FEATURES, Commits
from extract.store.files import read_errors
from extract.store.opening import Store, split_snapshot
from extract.store.reader import Snapshot
from extract.store.snapshot_records import SnapshotColumn

LABELLING = ("label", "split", "group")


@dataclass(slots=True)
class ColumnDifference(Shown):
    """How the features of one column differ, over the images that both have."""

    column: str
    images: int
    """Images that both have."""
    differ: int
    """Of these, images whose features are further apart than the tolerance."""
    farthest: float
    """The largest relative distance, |a - b| / |b|."""


@dataclass(slots=True)
class Difference(Shown):
    """What differs between A and B."""

    added: list[str] = field(default_factory=list)
    """Paths that B has and A has not."""
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Paths whose image is another."""
    relabeled: list[str] = field(default_factory=list)
    """Paths of the same image with another label, split or group."""
    recipe: list[str] = field(default_factory=list)
    """Fields of the recipe that differ."""
    only_a: list[str] = field(default_factory=list)
    """Columns that only A has."""
    only_b: list[str] = field(default_factory=list)
    columns: list[ColumnDifference] = field(default_factory=list)

    @property
    def is_none(self) -> bool:
        """Whether nothing differs."""
        lists = (self.added, self.removed, self.changed, self.relabeled, self.recipe)
        return not any((*lists, self.only_a, self.only_b, *(c.differ for c in self.columns)))


def diff(a: str | Path, b: str | Path, tolerance: float = 0.0) -> Difference:
    """Compare two snapshots.

    Args:
        a: A store's folder; "photos.features@3" is its snapshot 3, otherwise the newest.
        b: Likewise.
        tolerance: Relative distance up to which features count as the same; 0 for every bit.

    Raises:
        InputError: If the tolerance is negative.
        StoreError: If there is no such store or snapshot.
    """
    if not tolerance >= 0:
        raise InputError(f"--tolerance is at least 0. Received: {tolerance}")
    (store_a, one), (store_b, other) = open_named(a), open_named(b)
    found = Difference()
    _compare_items(one, other, found)
    found.recipe = [name for name, _, _ in differences(one.recipe, other.recipe)]
    columns_a = {c.column.canonical: c for c in one.record.columns}
    columns_b = {c.column.canonical: c for c in other.record.columns}
    found.only_a = [c.column.title for k, c in columns_a.items() if k not in columns_b]
    found.only_b = [c.column.title for k, c in columns_b.items() if k not in columns_a]
    for canonical, kept in columns_a.items():
        if canonical in columns_b:
            with read_errors(f"{a} and {b}"):
                places = _places(store_a, one, kept), _places(store_b, other, columns_b[canonical])
                found.columns.append(_compare_column(kept, store_a, store_b, *places, tolerance))
    return found


def open_named(text: str | Path) -> tuple[Store, Snapshot]:
    """Open "photos.features" or "photos.features@3"."""
    path, number = split_snapshot(text)
    store = Store.at(path)
    return store, store.open(number)


def _compare_items(one: Snapshot, other: Snapshot, found: Difference) -> None:
    a = {row["path"]: row for row in one.items.to_pylist()}
    b = {row["path"]: row for row in other.items.to_pylist()}
    found.added = sorted(b.keys() - a.keys())
    found.removed = sorted(a.keys() - b.keys())
    for path in sorted(a.keys() & b.keys()):
        if a[path]["image_key"] != b[path]["image_key"]:
            found.changed.append(path)
        elif any(a[path][name] != b[path][name] for name in LABELLING):
            found.relabeled.append(path)


def _places(store: Store, snapshot: Snapshot, kept: SnapshotColumn) -> dict[str, Place]:
    """Return the rows with features of the images that the items refer to."""
    used = set(snapshot.items["image_key"].to_pylist())
    commits = Commits(store.files)
    places = places_of([commits.read(digest) for digest in kept.digests])
    return {
        key: place
        for key, place in places.items()
        if key in used and place.facts.status in HAS_FEATURES
    }


def _compare_column(
    kept: SnapshotColumn,
    store_a: Store,
    store_b: Store,
    a: Mapping[str, Place],
    b: Mapping[str, Place],
    tolerance: float,
) -> ColumnDifference:
    """Compare row digests first: rows are read only where these differ."""
    both = [key for key in a if key in b]
    result = ColumnDifference(kept.column.name, len(both), 0, 0.0)
    for key in both:
        if _digest(a[key]) == _digest(b[key]):
            continue
        distance = relative_distance(_row(store_a, a[key]), _row(store_b, b[key]))
        result.farthest = max(result.farthest, distance)
        result.differ += distance > tolerance or not tolerance
    return result


def _digest(place: Place) -> str:
    return place.commit.row_digests[place.index]


def _row(store: Store, place: Place) -> np.ndarray:
    return store.shards.read(place.commit.ref, place.index, place.index + 1)
