"""Two checks of a store against the world: its images hashed, or its features computed, again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from extract import pixels
from extract.assemble import Place
from extract.cores import num_cores
from extract.engines.engine import PARITY, relative_distance
from extract.errors import ImageError, InputError
from extract.items import Item, Listing
from extract.known import Known, read_known
from extract.lazy_engine import LazyEngine
from extract.plan import EngineChoice, Plan, Settings, make_plan
from extract.progress import Reporter, Silent
from extract.reading import FileBytes, read
from extract.recipe import Column
from extract.store.commits import HAS_FEATURES
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.store.verify import Verdict
from extract.stored import remember
from extract.views import make_view

HALF_PARITY = 1e-3
"""Relative distance across engines of what was rounded to float16 (11 bits) on its way."""


def check_images(
    path: str | Path,
    images: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> Verdict:
    """Hash every image of the newest snapshot again and compare it with its key.

    Args:
        path: The store's folder.
        images: Where the images are now; where they were last, by default.
        progress: Called with (items done, items).

    Returns:
        Problems by item: missing, unreadable, or other bytes than those that were extracted.
    """
    store, known = _open(path)
    listing = remember(store).listing(images, "--found-at", known.items)
    items = _readable(known, listing)
    verdict = Verdict()
    with ThreadPoolExecutor(num_cores()) as pool:
        for done, ((item, _), (size, trouble)) in enumerate(
            zip(items, pool.map(partial(_check_image, listing), items), strict=True)
        ):
            verdict.checks += 1
            verdict.bytes += size
            if trouble:
                verdict.problems[item.path] = trouble
            progress(done + 1, len(items))
    if verdict.problems:
        verdict.notes.append(
            f"Images were looked for in {listing.name} alone, where the store says that they are. "
            f"For those of another place, as a merged store has: --found-at FOLDER"
        )
    return verdict


def _check_image(listing: Listing, item: tuple[Item, str]) -> tuple[int, str]:
    """Return (bytes read, what is wrong)."""
    file = _read(listing, *item)
    if isinstance(file, FileBytes):
        return file.read.size, ""
    return 0, file


def _read(listing: Listing, item: Item, key: str) -> FileBytes | str:
    """Return an item's bytes, or why they are not those of its image."""
    try:
        file = read(listing, item)
    except ImageError as error:
        return error.reason
    if file.read.image_key != key:
        return "has other bytes than the image that was extracted"
    return file


def _open(path: str | Path) -> tuple[Store, Known]:
    store = Store.at(path)
    store.open()  # says it where there is no store, or nothing sealed
    with read_errors(store.path):
        return store, read_known(store)


def _readable(known: Known, listing: Listing) -> list[tuple[Item, str]]:
    """Return (item, image key) of the snapshot's items that could be read."""
    assert isinstance(known.items, pa.Table)
    pairs = zip(listing.items, known.items["image_key"].to_pylist(), strict=True)
    return [(item, key) for item, key in pairs if key is not None]


def recompute(
    path: str | Path,
    count: int,
    images: str | Path | None = None,
    *,
    weights: str | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Verdict:
    """Run the backbone again on some images and compare with the rows in the store.

    Rows that an engine of the same numeric signature made must come out bit for bit; others
    within 1e-5 of their norm (1e-3 where they are kept as float16).

    Args:
        path: The store's folder.
        count: How many distinct images; drawn at random, which `seed` decides.
        images: Where the images are now; where they were last, by default.
        weights: The weights file, if it is not where it was.
        seed: Another seed draws other images.
        reporter: Hears what takes long.

    Returns:
        Problems by item; notes on images that could not be read any more.

    Raises:
        InputError: If `count` is not positive, or none of the images is there.
    """
    if count < 1:
        raise InputError(f"--recompute is at least 1 image. Received: {count}")
    store, known = _open(path)
    memory = remember(store)
    listing = memory.listing(images, "--found-at", known.items)
    settings = memory.settings(weights)
    plan = make_plan(_on_any_machine(settings, known), known, store.path, reporter or Silent())
    engine, places = LazyEngine(plan), _places(known, plan.columns)
    verdict = Verdict()
    for name, key, file in _draw(listing, known, places, count, seed, verdict):
        array, _ = pixels.load(file.data, settings.pixels)
        for column, features in _features(plan, engine, array, key):
            place = places[column.canonical][key]
            trouble = _compare(store, column, place, features, dict(engine.engine.signature))
            verdict.checks += 1
            if trouble:
                verdict.problems[name] = trouble
        verdict.bytes += file.read.size
    if not verdict.checks:
        raise InputError(
            f"None of the images of {path} is in {listing.name} as it was. Give --found-at FOLDER"
        )
    return verdict


def _features(
    plan: Plan, engine: LazyEngine, array: np.ndarray, key: str
) -> Iterator[tuple[Column, np.ndarray]]:
    """Yield every column with its features (1, *row_shape) of one picture, view by view."""
    for view in plan.views:
        seen = (
            array if plan.augmentation is None else make_view(array, plan.augmentation, key, view)
        )
        found = {c.canonical: x for c, x in zip(plan.outputs, engine(seen[None]), strict=True)}
        for column in plan.columns:
            if column.view == view:
                yield column, found[column.plain.canonical]


def _on_any_machine(settings: Settings, known: Known) -> Settings:
    """Name the store's engine: `auto` refuses one of another version, which is compared here."""
    assert known.head is not None
    kind: EngineChoice = "openvino" if known.head.signature["engine"] == "openvino" else "keras"
    return replace(settings, engine=kind)


def _places(known: Known, columns: Sequence[Column]) -> dict[str, Mapping[str, Place]]:
    return {c.canonical: known.places(c, pixels.decoder_signature()) for c in columns}


def _draw(
    listing: Listing,
    known: Known,
    places: Mapping[str, Mapping[str, Place]],
    count: int,
    seed: int,
    verdict: Verdict,
) -> Iterator[tuple[str, str, FileBytes]]:
    """Yield (path, key, bytes) of images drawn at random; those that are gone are noted."""
    items: dict[str, Item] = {}
    for item, key in _readable(known, listing):
        if all(key in p and p[key].facts.status in HAS_FEATURES for p in places.values()):
            items.setdefault(key, item)
    keys = sorted(items)
    random.Random(seed).shuffle(keys)
    found = gone = 0
    for key in keys:
        if found == count:
            break
        file = _read(listing, items[key], key)
        if isinstance(file, str):
            gone += 1
            continue
        found += 1
        yield items[key].path, key, file
    if gone:
        verdict.notes.append(
            f"{gone} images that were drawn are not in {listing.name} as they were"
        )


def _compare(
    store: Store, column: Column, place: Place, found: np.ndarray, signature: Mapping[str, str]
) -> str:
    """Return how a row differs from the one that is kept; nothing where it does not."""
    kept = store.shards.read(place.commit.ref, place.index, place.index + 1)
    if dict(place.commit.signature) == dict(signature):
        same = found.astype(kept.dtype).tobytes() == kept.tobytes()
        expected = "the same bits"
    else:
        allowed = PARITY if column.dtype == "float32" else HALF_PARITY
        same = relative_distance(found, kept) <= allowed
        expected = f"at most {allowed:.0e}"
    if same:
        return ""
    distance = relative_distance(found, kept)
    return f"{column.name} differs by {distance:.1e} of its norm, expected {expected}"
