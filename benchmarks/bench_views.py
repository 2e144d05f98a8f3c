"""What K views of each image cost, in extractions of one view.

    python -m benchmarks.bench_views --shared ../shared --images 400 --repeats 5 --out results
    python -m benchmarks.bench_views --tiny

A round extracts the same images twice, each into a new store: with one view, then with K views.
Reading, decoding, views, the forward pass and writing all count; listing the folder and loading
the engine do not. The cost is the median over the rounds of the ratio of both times, so that a
busy machine matters little. The last shard of each view is made durable after the last image, which
is a visible share of the time where images are few. Beside it: the time of making one view, alone
on one core. Disks are warm: this measures processors, not disks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import results
from benchmarks.bench_extract import WEIGHTS
from benchmarks.command_line import in_one_line, photographs_of, positive
from benchmarks.goals import at_most
from benchmarks.tables import Grid, spread, told
from benchmarks.timing import scratch, seconds_of
from benchmarks.tiny import paint
from extract.api import extract_listing
from extract.augment import Augmentation
from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.items import Listing, list_folder
from extract.plan import Settings
from extract.progress import Silent
from extract.store.opening import Store
from extract.views import make_view

FOLDER = "hymenoptera"
VIEWS = 8
AUGMENT = "flip,rotation=0.1,crop=0.8,brightness=0.2"
AT_MOST = 8.2 / 8
"""Times the number of views."""


def chosen(listing: Listing, count: int) -> Listing:
    """Return `count` items at equal distances, so that every class has some."""
    step = max(1, len(listing.items) // count)
    return replace(listing, items=listing.items[::step][:count])


def extraction_seconds(listing: Listing, settings: Settings) -> float:
    """Return the seconds that the stages took for all images, into a store that is thrown away."""
    with scratch() as folder:
        summary = extract_listing(listing, Store.at(folder / "store"), settings, Silent())
    return summary.extracted / summary.images_per_second


def view_seconds(augment: str, size: int, repeats: int) -> float:
    """Return the seconds that one view takes, on one core."""
    picture = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    augmentation = Augmentation.parse(augment)
    cv2.setNumThreads(1)  # as the pipeline does

    def make() -> None:
        for view in range(1, 1 + VIEWS):
            make_view(picture, augmentation, "0" * 64, view)

    return min(seconds_of(make) for _ in range(max(3, repeats))) / VIEWS


def measure(
    folder: Path,
    spec: BackboneSpec,
    *,
    views: int = VIEWS,
    augment: str = AUGMENT,
    images: int = 400,
    repeats: int = 5,
) -> dict[str, Any]:
    """Measure; return JSON values."""
    listing = chosen(list_folder(folder), images)
    one = Settings(spec=spec, pixels=pixel_policy(spec), engine="openvino")
    many = replace(one, views=views, augment=augment)
    extraction_seconds(listing, one)  # converts and warms up
    rounds = [
        (extraction_seconds(listing, one), extraction_seconds(listing, many))
        for _ in range(repeats)
    ]
    return {
        "data": folder.name,
        "images": len(listing.items),
        "views": views,
        "augment": many.augment,
        "rounds": rounds,
        "cost_in_single_views": statistics.median(b / a for a, b in rounds),
        "milliseconds_per_view_made": 1000 * view_seconds(augment, one.pixels.image_size, repeats),
    }


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return the time per image of one view and of all."""
    grid = Grid(
        f"{facts['images']:,} images of {facts['data']}, {facts['augment']}: ms per image",
        ("", "median", "least", "most"),
    )
    labels = ("1 view", f"{facts['views']} views")
    for label, times in zip(labels, zip(*facts["rounds"], strict=True), strict=True):
        grid.add(label, *spread([1000 * t / facts["images"] for t in times], 2))
    return [grid]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return the ratio beside what it must reach."""
    ratios = [b / a for a, b in facts["rounds"]]
    return [
        f"{facts['views']} views cost {told(ratios, 2, 'x')} one "
        f"{at_most(statistics.median(ratios), AT_MOST * facts['views'], '.1f')}; making a view "
        f"takes {facts['milliseconds_per_view_made']:.2f} ms"
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", default=FOLDER)
    parser.add_argument("--views", type=positive, default=VIEWS)
    parser.add_argument("--augment", default=AUGMENT)
    parser.add_argument("--images", type=positive, default=400)
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--out", type=Path, help="folder of the JSON; else it is printed")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    options, before = parser.parse_args(words), results.load_average()
    if options.tiny:
        with scratch() as place:
            digits = BackboneSpec(name="digits")
            facts = measure(paint(place / "tiny"), digits, views=2, images=4, repeats=2)
    else:
        facts = measure(
            photographs_of(options.shared, options.folder),
            BackboneSpec(weights=str((options.shared / WEIGHTS).resolve())),
            views=options.views,
            augment=options.augment,
            images=options.images,
            repeats=options.repeats,
        )
    for grid in tables(facts):
        grid.show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    results.deliver(
        options.out, "bench_views-tiny" if options.tiny else "bench_views", facts, before
    )


if __name__ == "__main__":
    in_one_line(main)
