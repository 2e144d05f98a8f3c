"""One data set, many ways to extract it, one root digest."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import extract
from extract.items import Listing
from extract.sources import list_images
from extract.store.opening import open_store
from tests.campaign.disk import Disk, put_back, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.world import (
    EARLY,
    LATE,
    arithmetic_backbone,
    extract_folder,
    picture,
    scratch,
    write_tree,
)
from tests.simulated import PowerCut

FORMATS, BATCHES, WORKERS = ("zarr", "hdf5"), (1, 7, 32), (1, 2, 4)
BACKBONE, SIZE = "mobilenet_v3_small", 32
"""A real one, many of whose layers have no name of their own: Keras numbers them per process."""


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for all combinations, and one for a process that built another backbone."""
    with scratch() as folder:
        with arithmetic_backbone():
            yield all_ways(folder)
        yield after_another_backbone(folder)


def all_ways(folder: Path) -> Figure:
    """Extract one data set in every combination, each with a shuffled listing."""
    figure = Figure(point=7, what="format, batch, workers, order, interrupted or not: one root")
    content = LATE | {f"train/ants/{i}.png": picture(100 + i) for i in range(11)}
    photos = write_tree(folder / "photos", content)
    roots, cuts = set(), 0
    ways = itertools.product(FORMATS, BATCHES, WORKERS, (False, True))
    for number, (form, batch, workers, interrupted) in enumerate(ways):
        options = {"format": form, "batch_size": batch, "workers": workers}
        store = folder / f"{number}.features"
        with shuffled_listing(number):
            if interrupted:
                cut = lose_power(photos, store, number, options)
                figure.check(cut, f"{options}: the run was through before it was interrupted")
                cuts += cut
            extract_folder(photos, store, **options)
        roots.add(open_store(store).root_digest)
        figure.tried += 1
    figure.check(len(roots) == 1, f"{len(roots)} root digests")
    figure.note = f"{cuts} of them interrupted"
    return figure


@contextlib.contextmanager
def shuffled_listing(seed: int) -> Iterator[None]:
    """Let folders be listed in an order that a seed decides."""

    def listed(*words: object) -> Listing:
        found = list_images(*words)
        items = list(found.items)
        random.Random(seed).shuffle(items)
        return replace(found, items=tuple(items))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.api.list_images", listed)
        yield


def lose_power(photos: Path, store: Path, seed: int, options: dict[str, object]) -> bool:
    """Begin a run, and cut the power in the middle; return whether it came to that."""
    disk = Disk({}, cut_at=20 + 2 * seed)
    with watching(disk), contextlib.suppress(PowerCut):
        extract_folder(photos, store, **options)
    put_back(store, disk.after_crash(seed))
    return disk.dead


def after_another_backbone(folder: Path) -> Figure:
    """Extract with a real backbone, build another of the same layers, and extract once more."""
    import keras

    figure = Figure(point=7, what="the same after another backbone was built in the process")
    photos, weights = write_tree(folder / "few", EARLY), folder / "backbone.weights.h5"
    found, names = set(), set()
    for number in range(2):
        other = keras.applications.MobileNetV3Small(
            (SIZE, SIZE, 3), weights=None, include_top=False
        )
        names.add(tuple(operation.name for operation in other.operations))
        if number == 0:
            other.save_weights(weights)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEADSTART_CACHE", str(folder / f"cache-{number}"))  # nothing is reused
            store = folder / f"real-{number}.features"
            extract.run(
                photos,
                store,
                backbone=BACKBONE,
                weights=str(weights),
                image_size=SIZE,
                engine="keras",
            )
        snapshot = open_store(store)
        found.add((snapshot.root_digest, snapshot.recipe.key))
        figure.tried += 1
    figure.check(len(found) == 1, f"{len(found)} root digests or recipe keys")
    figure.check(len(names) == 2, "Keras gave every layer the same name again: nothing was tried")
    return figure
