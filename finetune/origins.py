"""Whether a head was trained on this data set, and not on the rows that are to judge it.

A head remembers the digest of its items, and the store and snapshot that held them. Where the items
are others now (images came or went, labels or splits changed), that snapshot is looked up, here or
where the head was trained, and the images that it trained on are compared with the rows of now.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from extract import places
from extract.errors import HeadstartError
from extract.store.opening import open_store
from extract.store.reader import Snapshot
from finetune.errors import FinetuneError
from heads.model import Model

KNOWN = 0.5
"""Least share of the images that a head was trained on that its own data set still has."""


def check_origin(model: Model, snapshot: Snapshot) -> bool:
    """Make sure that a snapshot is of the data set of a head, whose training rows judge nothing.

    Args:
        model: The head.
        snapshot: What it is to be tuned on.

    Returns:
        Whether the items are those that the head was trained with.

    Raises:
        FinetuneError: If the head is of another data set, or saw validation rows, or neither can
            be told because the snapshot that it was trained on is gone.
    """
    if model.store["items_digest"] == snapshot.items_digest:
        return True
    then = next(_snapshots_then(model, snapshot), None)
    if then is None:
        raise _refused(
            model,
            snapshot,
            f"was trained with other items, on snapshot {model.store['snapshot']} of "
            f"{model.store['path']}, which is gone: whether it saw the validation rows of "
            f"{snapshot.path} cannot be told",
        )
    trained, present = _keys(then, "train"), _keys(snapshot)
    if len(trained & present) < KNOWN * len(trained):
        raise _refused(
            model,
            snapshot,
            f"was trained on another data set, {model.store['path']}: {len(trained & present):,} "
            f"of its {len(trained):,} training images are in {snapshot.path}",
        )
    if seen := trained & _keys(snapshot, "validation"):
        raise _refused(
            model,
            snapshot,
            f"was trained on {len(seen):,} images that are validation rows of {snapshot.path} now, "
            f"and only rows that it did not see can tell whether tuning is better",
        )
    return False


def _snapshots_then(model: Model, snapshot: Snapshot) -> Iterator[Snapshot]:
    """Yield the snapshot that a head was trained on, from this store and from its own."""
    for store in dict.fromkeys([snapshot.path, model.store["path"]]):
        try:
            then = open_store(store, model.store["snapshot"])
        except HeadstartError:  # gone, or damaged: it tells nothing
            continue
        if then.items_digest == model.store["items_digest"]:
            yield then


def _keys(snapshot: Snapshot, split: str | None = None) -> set[str]:
    """Return the keys of a snapshot's images, or of those in a split."""
    items: pa.Table = snapshot.items
    chosen = items if split is None else items.filter(pc.equal(items["split"], split))
    return {key for key in chosen["image_key"].to_pylist() if key is not None}


def _refused(model: Model, snapshot: Snapshot, why: str) -> FinetuneError:
    return FinetuneError(
        f"{model.path or 'The head'} {why}. Give --head one of this store: "
        f"{fit_command(model, snapshot.path, '.new.head')}"
    )


def fit_command(model: Model, store: str, suffix: str) -> str:
    """Return what to type for another head of a store, on the labels that a head has learned."""
    (column,) = model.label_columns
    label = "" if column == "label" else f" --label {column!r}"
    place = places.beside(store)
    out = place.with_name(place.name.removesuffix(".features") + suffix)
    return f"python -m heads fit {store}{label} --out {out}"
