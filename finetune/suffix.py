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

import numpy as np

from extract import api
from extract.engines.engine import relative_distance
from extract.progress import Reporter
from extract.recipe import Column
from extract.store.reader import Snapshot, open_store
from finetune.boundary import Cut
from finetune.errors import CutError, FinetuneError
from finetune.network import Network
from finetune.rows import Rows
from heads.model import Model

ERROR = 1e-2
"""How far kept activations may be from those of the prefix, relative; float16 alone is 3e-4."""
SUFFIX = ".boundary.features"


def boundary_store(store: str | Path) -> Path:
    """Return `photos.boundary.features` for `photos.features`."""
    path = Path(store)
    return path.with_name(path.name.removesuffix(".features") + SUFFIX)


def extract_boundary(
    model: Model, cut: Cut, store: Path, root: Path, weights: str | Path | None, reporter: Reporter
) -> Snapshot:
    """Return a store that has the columns of a cut, of every image of a folder.

    Raises:
        HeadstartError: As `extract.run`.
    """
    policy = model.recipe.pixels
    given = model.request(weights).spec
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
    )
    snapshot = open_store(store)
    if snapshot.recipe.key != model.recipe.key:
        raise FinetuneError(
            f"{store} holds activations of another recipe than the model's. Remove it: it is made "
            f"anew from the images"
        )
    return snapshot


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

    def take(self, rows: np.ndarray, epoch: int = 0) -> np.ndarray | list[np.ndarray]:
        """Return float32 activations of rows (counted in what was asked for): what a suffix takes."""
        if self.loaded is not None:
            parts = [array[rows] for array in self.loaded]
        else:
            parts = [self.snapshot.rows(self.numbers[rows], c.name) for c in self.columns]
        arrays = [part.astype(np.float32) for part in parts]
        return arrays[0] if len(arrays) == 1 else arrays


def open_boundary(snapshot: Snapshot, cut: Cut, rows: Sequence[Rows], limit: int) -> Boundary:
    """Return the activations of rows, of several splits one after another.

    Args:
        snapshot: A store that has the columns of the cut.
        cut: The cut.
        rows: What is wanted.
        limit: Bytes that may stay in memory; beyond, rows are read when they are asked for.

    Raises:
        FinetuneError: If an image has no row.
    """
    columns = tuple(_column(snapshot, source) for source in cut.sources)
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
        loaded = tuple(snapshot.rows(numbers, column.name) for column in columns)
    return Boundary(snapshot, columns, numbers, loaded)


def _column(snapshot: Snapshot, operation: int) -> Column:
    for column in snapshot.columns:
        if (column.operation, column.pooling, column.view) == (operation, "none", 0):
            return column
    raise CutError(f"{snapshot.path} has no column of operation {operation}. Remove it, run again")


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
