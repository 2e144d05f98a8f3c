"""Activations at a cut, extracted once as columns of a store, so that only the suffix trains.

    images ─▶ `extract.run` ─▶ photos.boundary.features: one float16 column per tensor that crosses
                               └▶ rows of the training set ─▶ suffix

The store is one like any other: `extract verify` checks it, a changed data set extends it, and a
run with another `--unfreeze` adds its columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract import api
from extract.augment import Augmentation
from extract.engines.engine import relative_distance
from extract.places import beside
from extract.progress import Reporter
from extract.recipe import Column, digest_json
from extract.store.opening import open_store
from extract.store.reader import Snapshot
from finetune.boundary import Cut
from finetune.errors import CutError, FinetuneError
from finetune.network import Network
from finetune.rows import Rows
from heads.model import Model

ERROR = 1e-2
"""How far kept activations may be from those of the prefix, relative; float16 alone is 3e-4."""
SUFFIX = ".boundary.features"
_VIEWS = 2  # what a draw is for, as in `heads.epochs`


def boundary_store(store: str | Path, augment: str = "") -> Path:
    """Return `photos.boundary.features` for `photos.features`.

    A store has views of one augmentation, so each has a store of its own.
    """
    path = beside(store)
    spec = f"-{digest_json(Augmentation.parse(augment).canonical)[:8]}" if augment else ""
    return path.with_name(f"{path.name.removesuffix('.features')}{spec}{SUFFIX}")


def extract_boundary(
    model: Model,
    cut: Cut,
    store: Path,
    root: Path,
    weights: str | Path | None,
    reporter: Reporter,
    *,
    views: int = 0,
    augment: str = "",
) -> Snapshot:
    """Return a store that has the columns of a cut, of every image of a folder.

    Args:
        model: The head, whose recipe the activations have.
        cut: The cut.
        store: Where they go.
        root: The images.
        weights: Where the backbone's weights file is now, if it is not where it was.
        reporter: Hears progress.
        views: Augmented views to keep beside the plain one.
        augment: What they are made by.

    Raises:
        HeadstartError: As `extract.run`.
    """
    policy = model.recipe.pixels
    given = model.request(weights).spec
    augmented: dict[str, Any] = {"views": views + 1, "augment": augment} if views else {}
    api.run(
        root,
        store,
        backbone=given.name,
        arguments=dict(given.arguments),
        weights=given.weights,
        image_size=policy.image_size,
        layers=[f"{name}:none" for name in cut.names],
        dtype="float16",
        interpolation=policy.interpolation,
        antialias=policy.antialias,
        crop_to_aspect_ratio=policy.crop_to_aspect_ratio,
        pad_to_aspect_ratio=policy.pad_to_aspect_ratio,
        exif_orientation=policy.exif_orientation,
        reporter=reporter,
        **augmented,
    )
    snapshot = open_store(store)
    if snapshot.recipe.key != model.recipe.key:
        raise FinetuneError(
            f"{store} holds activations of another recipe than the model's. Remove it: it is made "
            f"anew from the images"
        )
    return snapshot


def pick_views(count: int, views: int, seed: int, epoch: int) -> np.ndarray:
    """Return which view, 0 to `views` - 1, an epoch takes of each of `count` rows."""
    return np.random.default_rng([seed, epoch, _VIEWS]).integers(views, size=count)


def take_views(
    kept: Sequence[Boundary], picks: np.ndarray, rows: np.ndarray
) -> np.ndarray | list[np.ndarray]:
    """Return what `Boundary.take` gives, each row from the view that was picked for it.

    Args:
        kept: One per view.
        picks: As `pick_views` gives them.
        rows: Numbers of rows.
    """
    shapes = [kept[0].snapshot.row_shape(column.name) for column in kept[0].columns]
    arrays = [np.empty((len(rows), *shape), np.float32) for shape in shapes]
    for view, boundary in enumerate(kept):
        here = np.flatnonzero(picks[rows] == view)
        taken = boundary.take(rows[here])
        for array, values in zip(
            arrays, [taken] if isinstance(taken, np.ndarray) else taken, strict=True
        ):
            array[here] = values
    return arrays[0] if len(arrays) == 1 else arrays


@dataclass(frozen=True, eq=False)
class Boundary:
    """Activations of rows at a cut."""

    snapshot: Snapshot
    columns: tuple[Column, ...]
    """One per tensor that crosses, in the cut's order."""
    numbers: np.ndarray
    """(n,) rows of the store, one per image that was asked for."""
    loaded: tuple[np.ndarray, ...] | None
    """The activations, where they fit into memory: (n, *shape) float16 per column."""

    @property
    def memory_bytes(self) -> int:
        """Bytes that they take there."""
        return sum(array.nbytes for array in self.loaded or ())

    def take(self, rows: np.ndarray, epoch: int = 0) -> np.ndarray | list[np.ndarray]:
        """Return float32 activations of rows, counted in what was asked for."""
        if self.loaded is not None:
            parts = [array[rows] for array in self.loaded]
        else:
            parts = [self.snapshot.take(self.numbers[rows], c.name) for c in self.columns]
        arrays = [part.astype(np.float32) for part in parts]
        return arrays[0] if len(arrays) == 1 else arrays


def open_boundary(
    snapshot: Snapshot, cut: Cut, rows: Sequence[Rows], limit: int, view: int = 0
) -> Boundary:
    """Return the activations of rows, of several splits one after another.

    Args:
        snapshot: A store that has the columns of the cut.
        cut: The cut.
        rows: What is wanted.
        limit: Bytes that may stay in memory; beyond, rows are read when they are asked for.
        view: Which view of the images.

    Raises:
        FinetuneError: If an image has no row.
    """
    columns = tuple(_column(snapshot, source, view) for source in cut.sources)
    items = snapshot.items
    pairs = zip(items["image_key"].to_pylist(), items["row"].to_pylist(), strict=True)
    place = {key: row for key, row in pairs if key is not None and row >= 0}
    keys = [key for part in rows for key in part.keys]
    if missing := [key for key in keys if key not in place]:
        raise FinetuneError(
            f"{len(missing)} images of the store are not in {snapshot.path}: the folder has "
            f"changed. Take the change over: python -m extract run {rows[0].root}"
        )
    numbers = np.array([place[key] for key in keys])
    loaded = None
    if len(keys) * cut.row_bytes <= limit:
        loaded = tuple(snapshot.take(numbers, column.name) for column in columns)
    return Boundary(snapshot, columns, numbers, loaded)


def _column(snapshot: Snapshot, operation: int, view: int) -> Column:
    for column in snapshot.columns:
        if (column.operation, column.pooling, column.view) == (operation, "none", view):
            return column
    raise CutError(
        f"{snapshot.path} has no column of operation {operation}, view {view}. Remove it: it is "
        f"made anew from the images"
    )


def measured_error(network: Network, cut: Cut, kept: Boundary, pixels: np.ndarray) -> float:
    """Return how far kept activations are from those of the prefix here, relative, at worst.

    Args:
        network: The network, as it was before training.
        cut: The cut.
        kept: Activations of which the first are those of `pixels`.
        pixels: (n, S, S, 3) float32.

    Raises:
        FinetuneError: If they are further apart than float16 explains.
    """
    import keras

    outputs = cut.prefix(network)(network.preprocessing(pixels), training=False)
    expected = [keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]
    found = kept.take(np.arange(len(pixels)))
    found = [found] if isinstance(found, np.ndarray) else found
    error = max(relative_distance(a, b) for a, b in zip(found, expected, strict=True))
    if not error <= ERROR:
        raise FinetuneError(
            f"Kept activations at {cut.name} are {error:.1e} from the prefix's, at most "
            f"{ERROR:.0e} was expected. Give --mode full"
        )
    return error
