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
from extract.items import SCHEMES, Item, Listing
from extract.parts import Part, part_of
from extract.places import bucket_url
from extract.plan import Settings
from extract.prepared import WEIGHTS_WORDS, Request, cached
from extract.recipe import Column, LayerRequest
from extract.sources import list_images
from extract.store import header
from extract.store.files import read_errors
from extract.store.item_tables import ITEM_SCHEMA
from extract.store.opening import Store
from extract.store.shards import Format, format_of
from extract.store.snapshot_records import SnapshotRecord
from extract.store.verify import readable_commits

GONE = "not there any more"
"""The trouble of a snapshot's item that its archive, or its library's data set, lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What can still be read of how a store was made."""

    store: str
    head: header.Header | None
    columns: tuple[Column, ...]
    found_at: Mapping[str, str]
    format: Format
    part: Part | None = None
    """Which share of its images the store holds."""

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
        plain = list({c.plain.canonical: c.plain for c in self.columns}.values())
        named = dict.fromkeys(
            LayerRequest(c.layer, c.pooling) for c in self.columns if c.dtype == dtype
        )
        return Settings(
            spec=spec,
            pixels=recipe.pixels,
            layers=() if _are_default(spec, recipe.pixels.image_size, plain) else tuple(named),
            dtype=dtype,
            kept=self.columns,
            precision=recipe.precision,
            format=self.format,
        )

    def _moved(self, locators: Mapping[str, Any]) -> str | None:
        """Return where the weights' file was found, if it is not where it was said to be."""
        own = locators["weights"] == OWN
        place = file_of(locators["name"]) if own else Path(locators["weights"]).expanduser()
        said = place.is_absolute() if own else locators["weights"] not in WEIGHTS_WORDS
        return self.found_at.get("weights") if said and not place.exists() else None

    def listing(
        self, given: str | Path | None, option: str, items: pa.Table | None = None
    ) -> Listing:
        """List the images where they are given, where they were last, or beside the store.

        Args:
            given: A folder (for a store made from a table, that of its paths), or what else `run`
                takes by name.
            option: How a person gives it.
            items: Take these items of a snapshot, instead of what is there now.

        Raises:
            InputError: If the images are in none of these places; it names `option`.
        """
        places = [str(given)] if given is not None else self._places()
        reason = ""
        for place in places:
            try:
                if (found := self._listing(place, items)) is not None:
                    if items is None:
                        return part_of(found, self.part)
                    return replace(found, part=self.part)
            except InputError as error:  # a place beside the store may be good all the same
                reason = reason or f": {error}"
        shown = " or ".join(places) or "any place"
        raise InputError(
            f"The images of {self.store} are not in {shown}{reason or ' any more'}. "
            f"Give {option} FOLDER"
        )

    def _places(self) -> list[str]:
        """Return where images were last, and where they are if they moved with the store."""
        path, then = Path(self.store), self.found_at.get("images")
        places = [] if then is None else [then]
        if bucket_url(self.store):  # nothing of this machine is beside it
            return places
        if then is not None and not bucket_url(then) and then.partition(":")[0] not in SCHEMES:
            places.append(str(path.with_name(Path(then).name)))
        if path.suffix == ".features" and "folder" not in self.found_at:
            places.append(str(Part.of_store(path)[0]))
        return list(dict.fromkeys(places))

    def _listing(self, place: str, items: pa.Table | None) -> Listing | None:
        """List one place; None where there is nothing."""
        if "folder" in self.found_at:
            return self._listing_of_table(place, items)
        if items is not None and Path(place).is_dir():
            return listing_of(Path(place).resolve(), items)
        if not _may_be_there(place):
            return None
        listing = list_images(place)
        return listing if items is None else _as_in_snapshot(listing, items)

    def _listing_of_table(self, place: str, items: pa.Table | None) -> Listing | None:
        """List what a table names, which `place` is, or whose paths' folder it is."""
        if any(map(bucket_url, (place, self.found_at["images"], self.found_at["folder"]))):
            return self._listing_in_bucket(place, items)
        table, root = Path(self.found_at["images"]), Path(self.found_at["folder"])
        if Path(place).is_dir():
            root = Path(place)
            table = table if table.is_file() else root / table.name
        elif Path(place) != table:
            root = Path(place).parent if root == table.parent else root
            table = Path(place)
            if not table.is_file():
                return None
        if not root.is_dir():
            return None
        if items is not None:  # files are found by their paths alone
            return replace(listing_of(root.resolve(), items), place=str(table))
        return list_images(table, root) if table.is_file() else None

    def _listing_in_bucket(self, place: str, items: pa.Table | None) -> Listing:
        """List a table where it, or its images, are in a bucket, or were."""
        table, root = self.found_at["images"], self.found_at["folder"]
        if place.lower().endswith((".csv", ".parquet")):
            own = root == table.rpartition("/")[0]
            table, root = place, place.rpartition("/")[0] if own else root
        else:
            root = place
        listing = list_images(table, root)
        return listing if items is None else _as_in_snapshot(listing, items)


def _may_be_there(place: str) -> bool:
    scheme, _, name = place.partition(":")
    is_range = "{" in Path(place).name
    return (
        bool(bucket_url(place))
        or Path(place).exists()
        or is_range
        or (scheme in SCHEMES and name != "")
    )


def _as_in_snapshot(listing: Listing, items: pa.Table) -> Listing:
    """Return a snapshot's items, to be read from a source where it still has them."""
    there = {item.path: item for item in listing.items}
    then = listing_of(listing.root, items)
    found = (
        replace(there[item.path], label=item.label, split=item.split, group=item.group)
        if item.path in there
        else replace(item, trouble=GONE)
        for item in then.items
    )
    return replace(listing, items=tuple(found), notes=(), further=then.further)


def remember(store: Store) -> Memory:
    """Read what can be read of a store's header, newest snapshot and, without one, commits.

    Raises:
        DamagedStoreError: If the disk refuses to read the header or every snapshot: what they say
            is not to be taken for gone.
    """
    head = None
    with read_errors(store.path):
        with contextlib.suppress(StoreError):
            head = header.read(store.files)
        record = _newest_readable(store)
    if record is not None:
        columns = tuple(c.column for c in record.columns)
        refs = [ref for c in record.columns for ref in c.refs[-1:]]
    else:
        commits = list(readable_commits(store).values())
        columns = tuple({c.column.canonical: c.column for c in commits}.values())
        refs = [c.ref for c in commits]
    return Memory(
        store=store.path,
        head=head,
        columns=columns,
        found_at=record.found_at if record else {},
        part=record.part if record else Part.of_store(Path(store.path))[1],
        format=format_of(refs),
    )


def _newest_readable(store: Store) -> SnapshotRecord | None:
    refused: OSError | None = None
    for number in reversed(store.snapshots.numbers()):
        try:
            return store.snapshots.read(number)
        except OSError as error:
            refused = error
        except StoreError:
            continue
    if refused is not None:
        raise refused
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
    """Return a snapshot's items, with the user's further columns, as if they had been listed."""
    names = ["path", "label", "split", "size", "mtime_ns", "group"]
    further = items.drop_columns([n for n in items.column_names if n in ITEM_SCHEMA.names])
    return Listing(
        root,
        tuple(Item(**row) for row in items.select(names).to_pylist()),
        further=further if further.num_columns else None,
    )
