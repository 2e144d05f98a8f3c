"""What a store remembers of the run that made it: its settings, and where its images were."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from extract.backbone_files import OWN, file_of
from extract.backbones import BackboneSpec
from extract.errors import InputError, StoreError
from extract.items import Item, Listing
from extract.plan import Settings
from extract.prepared import WEIGHTS_WORDS, Request, cached
from extract.recipe import Column, LayerRequest
from extract.store import header
from extract.store.reader import Store
from extract.store.snapshots import SnapshotRecord
from extract.store.verify import readable_commits


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What can still be read of how a store was made."""

    store: str
    head: header.Header | None
    columns: tuple[Column, ...]
    found_at: Mapping[str, str]
    hdf5: bool

    def settings(self, weights: str | None = None) -> Settings:
        """Return settings that give the store's own recipe, columns and engine.

        Args:
            weights: Where the weights file is now, if not where it was.

        Raises:
            StoreError: If the store has no header or no column.
        """
        if self.head is None or not self.columns:
            raise StoreError(
                f"{self.store} does not say how it was made. Type the command that made it: "
                f"python -m extract run IMAGES --store {self.store}"
            )
        recipe, locators = self.head.recipe, self.head.backbone
        spec = BackboneSpec.located_at(locators, weights or self._moved(locators))
        dtype = self.columns[0].dtype
        named = tuple(LayerRequest(c.layer, c.pooling) for c in self.columns if c.dtype == dtype)
        return Settings(
            spec=spec,
            pixels=recipe.pixels,
            # Columns of another type on disk go on by themselves: a snapshot never loses one.
            layers=() if _are_default(spec, recipe.pixels.image_size, self.columns) else named,
            dtype=dtype,
            precision=recipe.precision,
            format="hdf5" if self.hdf5 else "zarr",
        )

    def _moved(self, locators: Mapping[str, Any]) -> str | None:
        """Return where the weights' file was found, if it is not where it was said to be."""
        own = locators["weights"] == OWN
        place = file_of(locators["name"]) if own else Path(locators["weights"]).expanduser()
        said = place.is_absolute() if own else locators["weights"] not in WEIGHTS_WORDS
        return self.found_at.get("weights") if said and not place.exists() else None

    def images(self, given: str | Path | None, option: str) -> Path:
        """Return the folder of the images: the given one, the last one, or that beside the store.

        Raises:
            InputError: If none of these is a folder; it names `option`.
        """
        path = Path(self.store)
        beside = path.with_suffix("") if path.suffix == ".features" else None
        places = [given] if given is not None else [self.found_at.get("images"), beside]
        for place in places:
            if place is not None and Path(place).is_dir():
                return Path(place).resolve()
        shown = " or ".join(str(place) for place in places if place is not None) or "any place"
        raise InputError(
            f"The images of {self.store} are not in {shown} any more. Give {option} FOLDER"
        )


def remember(store: Store) -> Memory:
    """Read what can be read of a store's header, newest snapshot and, without one, commits."""
    head = None
    with contextlib.suppress(StoreError, OSError):
        head = header.read(store.files)
    record = _newest_readable(store)
    if record is not None:
        columns = tuple(c.column for c in record.columns)
        files = [c.refs[-1].file for c in record.columns]
    else:
        commits = list(readable_commits(store).values())
        columns = tuple({c.column.canonical: c.column for c in commits}.values())
        files = [c.ref.file for c in commits]
    return Memory(
        store=store.path,
        head=head,
        columns=columns,
        found_at=record.found_at if record else {},
        hdf5=any(file.endswith(".h5") for file in files),
    )


def _newest_readable(store: Store) -> SnapshotRecord | None:
    for number in reversed(store.snapshots.numbers()):
        with contextlib.suppress(StoreError, OSError):
            return store.snapshots.read(number)
    return None


def _are_default(spec: BackboneSpec, image_size: int, columns: Sequence[Column]) -> bool:
    """Return whether naming no layer gives these columns, as far as the cache can tell.

    Then the backbone that the store's run converted is used, and not converted again by name.
    """
    found = cached(Request(spec=spec, image_size=image_size, layers=(LayerRequest(),)), "openvino")
    return found is not None and [c.canonical for c, _ in found.columns] == [
        replace(c, dtype="float32").canonical for c in columns
    ]


def listing_of(root: Path, items: pa.Table) -> Listing:
    """Return a snapshot's items as if they had been listed."""
    names = ["path", "label", "split", "size", "mtime_ns", "group"]
    return Listing(root, tuple(Item(**row) for row in items.select(names).to_pylist()))
