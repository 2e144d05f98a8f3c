"""One data set, many ways to extract it, one root digest."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.items import Listing
from extract.sources import list_images
from extract.store.reader import open_store
from tests.campaign.disk import Disk, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.world import (
    LATE,
    Tree,
    arithmetic_backbone,
    extract_folder,
    picture,
    scratch,
    tree,
    write_tree,
)
from tests.simulated import PowerCut

FORMATS, BATCHES, WORKERS = ("zarr", "hdf5"), (1, 7, 32), (1, 2, 4)


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure for all combinations, each with a shuffled listing."""
    figure = Figure(point=7, what="format, batch, workers, order, interrupted or not: one root")
    content = LATE | {f"train/ants/{i}.png": picture(100 + i) for i in range(11)}
    with arithmetic_backbone(), scratch() as folder:
        photos = write_tree(folder / "photos", content)
        roots = set()
        ways = itertools.product(FORMATS, BATCHES, WORKERS, (False, True))
        for number, (form, batch, workers, interrupted) in enumerate(ways):
            options = {"format": form, "batch_size": batch, "workers": workers}
            store = folder / f"{number}.features"
            with shuffled_listing(number):
                if interrupted:
                    lose_power(photos, store, number, options)
                extract_folder(photos, store, **options)
            roots.add(open_store(store).root_digest)
            figure.tried += 1
        figure.check(len(roots) == 1, f"{len(roots)} root digests")
    yield figure


def shuffled_listing(seed: int) -> object:
    """Let folders be listed in an order that a seed decides."""
    import contextlib
    from dataclasses import replace

    @contextlib.contextmanager
    def shuffling() -> Iterator[None]:
        def listed(*words: object) -> Listing:
            found = list_images(*words)
            items = list(found.items)
            random.Random(seed).shuffle(items)
            return replace(found, items=tuple(items))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("extract.api.list_images", listed)
            yield

    return shuffling()


def lose_power(photos: Path, store: Path, seed: int, options: dict[str, object]) -> None:
    """Begin a run, and cut the power in the middle."""
    content: Tree = tree(store) if store.exists() else {}
    disk = Disk(content, cut_at=20 + 3 * seed)
    write_tree(store, content)
    with watching(disk):
        try:
            extract_folder(photos, store, **options)
        except PowerCut:
            write_tree(store, disk.after_crash(seed))
