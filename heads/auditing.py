"""What is wrong with a data set, told from its features alone.

store ─▶ rows ─▶ pairs that are nearly the same: across splits, under two labels, or merely twice
              ─▶ labels that heads which did not see them doubt
              ─▶ rows far from every class; classes too small; splits that differ
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from extract.splits import SPLITS
from extract.store.reader import Data, Snapshot
from heads.data import chosen_columns, side_by_side
from heads.duplicates import SIMILARITY, near_pairs
from heads.errors import HeadError
from heads.label_errors import Doubts, doubt, out_of_fold
from heads.novelty import distances, moments
from heads.opening import opened_snapshot
from heads.ranges import plain_seed
from heads.shift import FEWEST, Shift, shift
from heads.targets import Target, class_target, no_classes, texts

KINDS = {
    "leakage": "pairs of nearly the same image in two splits, which makes numbers too good",
    "conflict": "pairs of nearly the same image under two labels, one of which is wrong",
    "duplicate": "pairs of nearly the same image, with one label in one split",
    "label": "labels that a head which did not see the image doubts",
    "outlier": "images that are far from every class",
    "small-class": "classes with few images in train",
    "shift": "splits that a head can tell from train",
}
"""Kind of finding → what it means."""
SMALL = 10
"""Training images below which a class is too small to learn from, or to be judged."""
FENCE = 3.0
"""Ranges between quartiles above the upper one, beyond which a distance is far out (Tukey,
Exploratory Data Analysis, 1977)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two items whose images are the same or nearly so, as positions in `Audit.items`."""

    kinds: tuple[str, ...]
    first: int
    second: int
    similarity: float
    """1.0 where they are the same image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What was found."""

    store: str
    snapshot: int
    items: pa.Table
    """The items that have features, in item order."""
    pairs: tuple[Pair, ...]
    """The likest first."""
    doubts: Doubts | None
    """Of `items`; None where labels cannot be judged."""
    classes: tuple[str, ...]
    distance: np.ndarray
    """(n,) of each item to the nearest class, in standard deviations of the features."""
    outliers: np.ndarray
    """Positions of items that are far out, the farthest first."""
    sizes: dict[str, dict[str, int]]
    """Class → split → images."""
    shifts: tuple[Shift, ...]
    notes: tuple[str, ...]
    label_column: str = "label"
    """Column of the store's items that labels are from; in `items` they are "label"."""

    def pairs_of(self, kind: str) -> list[Pair]:
        """Return the pairs of one kind."""
        return [pair for pair in self.pairs if kind in pair.kinds]

    @cached_property
    def doubted(self) -> np.ndarray:
        """Positions of items whose label is doubted, the most doubted first."""
        if self.doubts is None:
            return np.empty(0, np.int64)
        found = np.flatnonzero(self.doubts.suggested >= 0)
        return found[np.argsort(-self.doubts.margin[found], kind="stable")]

    @property
    def small_classes(self) -> list[str]:
        """Names of classes with fewer than `SMALL` images in train."""
        return [name for name, counts in self.sizes.items() if counts.get("train", 0) < SMALL]

    @property
    def counts(self) -> dict[str, int]:
        """How much of each kind was found."""
        return {
            **{kind: len(self.pairs_of(kind)) for kind in ("leakage", "conflict", "duplicate")},
            "label": len(self.doubted),
            "outlier": len(self.outliers),
            "small-class": len(self.small_classes),
            "shift": sum(s.found for s in self.shifts),
        }


def audit(
    store: str | Path | Snapshot,
    *,
    columns: str | Sequence[str] = (),
    label: str | None = None,
    similarity: float = SIMILARITY,
    seed: int = 0,
) -> Audit:
    """Look for duplicates, leakage, wrong labels, outliers and splits that differ.

    Args:
        store: Its folder, or a snapshot that is open already. It needs no labels.
        columns: Columns to look at; not needed where the store has one.
        label: Column of the items that says the class of each; "label" by default.
        similarity: How alike a pair is at least, up to 1; see `heads.duplicates`.
        seed: Draws folds.

    Raises:
        StoreError: If the store cannot be opened.
        HeadError: If it holds fewer than two images with features, or the similarity is not
            above 0 and at most 1.
    """
    if not 0 < similarity <= 1:
        raise HeadError(f"--similarity is above 0 and at most 1. Received: {similarity}")
    seed = plain_seed(seed)
    snapshot = opened_snapshot(store)
    learned = class_target(snapshot.items, label, snapshot.path)
    data = side_by_side(
        [snapshot.load(None, column.name) for column in chosen_columns(snapshot, columns)]
    )
    classes = snapshot.classes
    if learned is not None:
        data, classes = _labeled_by(learned, data), learned.names
    if other := no_classes(classes, 0 if data.y is None else int((data.y >= 0).sum())):
        data, classes = Data(data.X, None, data.items), ()
    if len(data) < 2:
        raise HeadError(f"{snapshot.path} has {len(data)} images with features; an audit needs two")
    rows = _Rows(data)
    found = near_pairs(rows.X, similarity)
    clusters = found.clusters(len(rows.X))
    pairs = sorted(
        (*_copies(rows), *_near(rows, found.first, found.second, found.similarity)),
        key=lambda pair: (-pair.similarity, pair.first, pair.second),
    )
    doubts, notes = (None, (other,)) if other else _doubts(rows, clusters, seed)
    distance = _distance(rows)
    return Audit(
        store=str(snapshot.path),
        snapshot=snapshot.number,
        items=data.items,
        pairs=tuple(pairs),
        doubts=doubts,
        classes=classes,
        distance=distance,
        outliers=_far_out(distance),
        sizes=_sizes(data, classes),
        shifts=tuple(_shifts(rows, clusters, seed)),
        notes=notes,
        label_column="label" if learned is None else learned.columns[0],
    )


def _labeled_by(target: Target, data: Data) -> Data:
    """Return rows with codes of another column, whose names take the place of "label"."""
    names = pa.array(texts(data.items, target.columns[0]), pa.string())
    items = data.items.set_column(data.items.column_names.index("label"), "label", names)
    return Data(data.X, target.of(data.items), items)


class _Rows:
    """Distinct images, and the items that show them."""

    def __init__(self, data: Data) -> None:
        keys = data.items["image_key"].to_pylist()
        places: dict[str, int] = {}
        self.row = np.array([places.setdefault(key, len(places)) for key in keys])
        """(items,) the row of each."""
        self.first = np.unique(self.row, return_index=True)[1]
        """(rows,) the first item of each."""
        self.X = data.X if len(places) == len(keys) else data.X[self.first]
        codes = np.full(len(keys), -1) if data.y is None else data.y
        self.codes = codes
        """(items,) -1 where there is no label."""
        self.splits = np.array(data.items["split"].to_pylist(), object)

    @cached_property
    def items(self) -> list[list[int]]:
        """The items of each row."""
        found: list[list[int]] = [[] for _ in range(len(self.X))]
        for item, row in enumerate(self.row.tolist()):
            found[row].append(item)
        return found

    def pair(self, first: int, second: int, similarity: float) -> Pair:
        """Return a pair of items with its kinds."""
        a, b = sorted((first, second))
        kinds = []
        if self.splits[a] != self.splits[b]:
            kinds.append("leakage")
        if self.codes[a] >= 0 and self.codes[b] >= 0 and self.codes[a] != self.codes[b]:
            kinds.append("conflict")
        return Pair(tuple(kinds) or ("duplicate",), a, b, similarity)


def _copies(rows: _Rows) -> Iterator[Pair]:
    """Yield each further item of an image with the first one."""
    for items in rows.items:
        for other in items[1:]:
            yield rows.pair(items[0], other, 1.0)


def _near(
    rows: _Rows, first: np.ndarray, second: np.ndarray, similarity: np.ndarray
) -> Iterator[Pair]:
    """Yield one pair of items for each pair of rows: the one that matters most."""
    for a, b, value in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
        pairs = (rows.pair(i, j, value) for i in rows.items[a] for j in rows.items[b])
        yield max(pairs, key=lambda pair: ("leakage" in pair.kinds, "conflict" in pair.kinds))


def _doubts(rows: _Rows, clusters: np.ndarray, seed: int) -> tuple[Doubts | None, tuple[str, ...]]:
    """Judge labels of distinct images out of fold, and give every item its row's answer."""
    codes = rows.codes[rows.first]
    together = Counter((int(c), int(k)) for c, k in zip(codes, clusters, strict=True))
    groups = Counter(code for code, _ in together)
    usable = np.array([code >= 0 and groups[int(code)] >= 2 for code in codes], bool)
    classes, compact = np.unique(codes[usable], return_inverse=True)
    if len(classes) < 2:
        return None, ("Labels are not judged: that takes two classes with two images each",)
    found = doubt(out_of_fold(rows.X[usable], compact, clusters[usable], seed), compact)
    suggested, margin = np.full(len(codes), -1), np.full(len(codes), -1.0)
    suggested[usable] = np.where(found.suggested >= 0, classes[found.suggested], -1)
    margin[usable] = found.margin
    same = rows.codes == codes[rows.row]  # a copy under another label is a conflict instead
    notes = () if usable.all() else (f"{int((~usable).sum()):,} labels are too rare to be judged",)
    return Doubts(np.where(same, suggested[rows.row], -1), margin[rows.row]), notes


def _distance(rows: _Rows) -> np.ndarray:
    """Return (items,) how far each is from the nearest class; without labels, from the mean."""
    codes = rows.codes[rows.first]
    labeled = codes >= 0
    if labeled.any():
        _, codes = np.unique(codes[labeled], return_inverse=True)
    else:
        labeled, codes = np.ones(len(codes), bool), np.zeros(len(codes), int)
    block = Data(rows.X[labeled], codes, pa.table({}))
    return distances(rows.X, *moments([block], int(codes.max()) + 1))[rows.row]


def _far_out(distance: np.ndarray) -> np.ndarray:
    low, high = np.quantile(distance, (0.25, 0.75))
    found = np.flatnonzero(distance > high + FENCE * (high - low))
    return found[np.argsort(-distance[found], kind="stable")]


def _sizes(data: Data, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    named = zip(data.items["label"].to_pylist(), data.items["split"].to_pylist(), strict=True)
    counts = Counter(named)
    return {name: {s: counts[name, s] for s in SPLITS if counts[name, s]} for name in classes}


def _shifts(rows: _Rows, clusters: np.ndarray, seed: int) -> Iterator[Shift]:
    splits = rows.splits[rows.first]
    train = splits == "train"
    for split in ("validation", "test"):
        other = splits == split
        here = train | other
        if min(len(np.unique(clusters[side])) for side in (train, other)) >= FEWEST:
            yield shift(rows.X[here], other[here], clusters[here], split, seed)
