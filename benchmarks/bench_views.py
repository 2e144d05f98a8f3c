"""What K views of each image cost, in extractions of one view.

    python -m benchmarks.bench_views --shared ../shared --images 400 --repeats 5

A round extracts the same images twice, each into a new store: with one view, then with K views.
Reading, decoding, views, the forward pass and writing all count; listing the folder and loading
the engine do not. The cost is the median over the rounds of the ratio of both times, so that a
busy machine matters little. The last shard of each view is made durable after the last image, which
is a visible share of the time where images are few. Beside it: the time of making one view, alone
on one core. Disks are warm: this measures processors, not disks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.bench_extract import WEIGHTS, scratch
from benchmarks.timing import Table, machine, seconds_of
from extract.api import extract_listing
from extract.augment import Augmentation
from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.items import Listing, list_folder
from extract.plan import Settings
from extract.progress import Silent
from extract.store.reader import Store
from extract.views import make_view

FOLDER = "hymenoptera"
VIEWS = 8
AUGMENT = "flip,rotation=0.1,crop=0.8,brightness=0.2"
AT_MOST = 8.2 / 8
"""Times the number of views."""


def spread(listing: Listing, count: int) -> Listing:
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


def main(
    folder: Path,
    spec: BackboneSpec,
    *,
    views: int = VIEWS,
    augment: str = AUGMENT,
    images: int = 400,
    repeats: int = 5,
) -> dict[str, Any]:
    """Measure; return what `--json` prints."""
    listing = spread(list_folder(folder), images)
    one = Settings(spec=spec, pixels=pixel_policy(spec), engine="openvino")
    many = replace(one, views=views, augment=augment)
    extraction_seconds(listing, one)  # converts and warms up
    rounds = [
        (extraction_seconds(listing, one), extraction_seconds(listing, many))
        for _ in range(repeats)
    ]
    table = Table(f"{len(listing.items)} images of {folder.name}, {augment}", "ms per image")
    for label, times in zip(("1 view", f"{views} views"), zip(*rounds, strict=True), strict=True):
        table.add(label, [1000 * t / len(listing.items) for t in times])
    table.show()
    return {
        "machine": machine(),
        "images": len(listing.items),
        "views": views,
        "augment": many.augment,
        "rounds": rounds,
        "cost_in_single_views": statistics.median(b / a for a, b in rounds),
        "milliseconds_per_view_made": 1000 * view_seconds(augment, one.pixels.image_size, repeats),
    }


def show(results: dict[str, Any]) -> None:
    """Print the ratio beside what it must reach."""
    print(
        f"{results['views']} views cost {results['cost_in_single_views']:.2f} x one (at most "
        f"{AT_MOST * results['views']:.1f}); making a view takes "
        f"{results['milliseconds_per_view_made']:.2f} ms",
        file=sys.stderr,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", default=FOLDER)
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--augment", default=AUGMENT)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = main(
        options.shared / "data" / options.folder,
        BackboneSpec(weights=str((options.shared / WEIGHTS).resolve())),
        views=options.views,
        augment=options.augment,
        images=options.images,
        repeats=options.repeats,
    )
    show(measured)
    if options.json:
        print(json.dumps(measured))
