"""What a run has yet to do, told from names, sizes and times alone, and the room it takes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from extract.errors import InputError
from extract.items import Item, Listing
from extract.known import Known
from extract.pixels import decoder_signature
from extract.places import bucket_url
from extract.plan import Plan
from extract.store.opening import Store
from extract.store.shards import Grid

RECORD_BYTES = 350
"""Of a commit record and an items table, per row and column (150 to 350 measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a run will find to do."""

    known: int
    """Items whose file is as an earlier run read it, and whose image has every column."""
    unread: tuple[Item, ...]
    """Items whose file must be read: new, renamed or changed ones."""
    missing: tuple[Item, ...]
    """One item for each image that an earlier run knew and that lacks a column."""
    features: tuple[int, ...]
    """Rows to extract at most, for each column of the plan."""
    spare: int
    """Rows of the store that no recognized item has: unread items may turn out to be these."""

    @property
    def images(self) -> int:
        """Images that go through the backbone, at most: copies are found only by reading."""
        return len(self.unread) + len(self.missing)


def needs(listing: Listing, known: Known, plan: Plan) -> Needs:
    """Compare a listing with what a store knows; no file is opened."""
    places = [known.places(column, decoder_signature()) for column in plan.columns]
    unread: list[Item] = []
    recognized: dict[str, Item] = {}
    count = 0
    for item in listing.items:
        if item.trouble:
            continue
        key = None if plan.settings.rehash else known.key_of(item)
        if key is None:
            unread.append(item)
            continue
        recognized.setdefault(key, item)
        count += all(key in place for place in places)
    missing = [i for key, i in recognized.items() if not all(key in place for place in places)]
    return Needs(
        known=count,
        unread=tuple(unread),
        missing=tuple(missing),
        features=tuple(
            len(unread) + sum(key not in place for key in recognized) for place in places
        ),
        spare=min((len(place.keys() - recognized.keys()) for place in places), default=0),
    )


def growth(found: Needs, known: Known, plan: Plan) -> int:
    """Return by how many bytes the store will grow, at most."""
    total = 0
    for rows, grid in zip(found.features, grids(known, plan), strict=True):
        copied = len(known.order) % grid.shard_rows if rows else 0
        total += (rows + copied) * (grid.row_bytes + RECORD_BYTES)
    return total


def grids(known: Known, plan: Plan) -> list[Grid]:
    """Return how each column of a plan is cut."""
    return [known.grid(c, shape) for c, shape in zip(plan.columns, plan.row_shapes, strict=True)]


def free_bytes(store: Store) -> int | None:
    """Return the free bytes of the disk on which a store is, or will be; None for a bucket."""
    if bucket_url(store.path):
        return None
    path = Path(store.path).absolute()
    return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free


def check_room(listing: Listing, store: Store, known: Known, plan: Plan) -> None:
    """Raise `InputError` if the features cannot fit on the disk, before anything is written."""
    cut, free = grids(known, plan), free_bytes(store)
    if free is None or len(listing.items) * sum(grid.row_bytes for grid in cut) <= free:
        return  # it fits whatever is known already
    found = needs(listing, known, plan)
    wanted = sum(
        max(0, rows - found.spare) * grid.row_bytes
        for rows, grid in zip(found.features, cut, strict=True)
    )
    if wanted > free:
        largest = max(range(len(cut)), key=lambda i: cut[i].row_bytes)
        raise InputError(
            f"The features of {found.images:,} images take {wanted / 1e9:,.1f} GB, and the disk "
            f"of {store.path} has {free / 1e9:,.1f} GB free: {plan.columns[largest].name} takes "
            f"{cut[largest].row_bytes / 1024:,.0f} KiB per image. Pool it, such as "
            f"--layer {plan.columns[largest].layer}:avg, or give --store on another disk"
        )
