"""What a run would do and cost: counted from the listing, timed on a few of its images.

The probe runs the true pipeline into a scratch store in the system's folder for temporary files,
so that decoding and the forward pass share the cores as they will. Neither the store nor the
user's cache is touched.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extract.api import check_place
from extract.errors import InputError, ScaleError
from extract.items import Item, Listing
from extract.known import Known, read_known
from extract.needs import Needs, check_room, free_bytes, grids, growth, needs
from extract.notebook import Shown
from extract.parts import Part, check_part, part_of
from extract.pipeline import PIXELS_AHEAD, Extraction
from extract.plan import Plan, Settings, default_store, make_plan
from extract.progress import Reporter, Silent
from extract.sources import list_images
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.writing import AHEAD

FIRST_PROBE = 16  # images: enough to see whether the backbone is slow
PROBE_SECONDS = 2.0
MOST_PROBED = 512  # images


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Shown):
    """What a run would come to; `--json` prints its fields."""

    store: str
    items: int
    known: int
    """Items that are recognized by path, size and time, and need nothing."""
    new: int
    """Items whose file must be read: new, renamed or changed ones."""
    extract: int
    """Images that would go through the backbone, at most: copies are found by reading."""
    disk: int
    """Bytes that the store would grow by, at most."""
    disk_free: int | None
    """None in a bucket, which has no end."""
    memory: int
    """Bytes at the peak, about."""
    images_per_second: float | None
    """Measured on `probed` images; None where there is nothing to extract, or none is good."""
    seconds: float | None
    probed: int


def estimate(
    images: str | Path | Iterable[Any],
    store: str | Path | None,
    settings: Settings,
    reporter: Reporter | None = None,
    root: str | Path | None = None,
    part: Part | None = None,
) -> Estimate:
    """Say what `extract.run` would do and cost.

    Args:
        images: A folder of images, or what else `run` takes.
        store: Where features would go; `<images>.features` by default.
        settings: What `run` would be asked for.
        reporter: Hears of what takes long.
        root: For a table, the folder of its paths; by default the table's own.
        part: The share of the images that it would be a run of.

    Raises:
        HeadstartError: For what `run` would refuse.
    """
    target = store if store is not None else default_store(images, part)
    disk = Store.at(target)
    listing = part_of(list_images(images, root), part)
    check_place(listing, disk)
    with read_errors(disk.path):
        known = read_known(disk).lean()
    if known.previous is not None:
        check_part(known.previous.part, listing.part, disk.path)
    plan = make_plan(settings, known, disk.path, reporter or Silent(), keep=False)
    check_room(listing, disk, known, plan)
    return estimate_plan(listing, disk, known, plan)


def estimate_plan(
    listing: Listing, store: Store, known: Known, plan: Plan, probe: bool = True
) -> Estimate:
    """Say what a plan comes to; without a probe the time is left unknown."""
    found = needs(listing, known, plan)
    sample = [*found.unread, *found.missing] if probe else []
    work = _lacking(plan, found)
    rate, load, probed = _probe(listing, sample, work) if sample else (None, 0.0, 0)
    seconds = load + found.images / rate if rate else None
    return Estimate(
        store=store.path,
        items=len(listing.items),
        known=found.known,
        new=len(found.unread),
        extract=found.images,
        disk=growth(found, known, plan),
        disk_free=free_bytes(store),
        memory=_memory(known, plan),
        images_per_second=None if rate is None else round(rate, 1),
        seconds=0.0 if not found.images else None if seconds is None else round(seconds, 1),
        probed=probed,
    )


def _lacking(plan: Plan, found: Needs) -> Plan:
    """Return the plan of those columns alone that lack rows: only their views are computed."""
    parts = zip(plan.columns, plan.row_shapes, found.features, strict=True)
    lacking = [(column, shape) for column, shape, rows in parts if rows]
    columns, shapes = zip(*lacking, strict=True) if lacking else ((), ())
    return replace(plan, columns=columns, row_shapes=shapes)


def _probe(listing: Listing, items: Sequence[Item], plan: Plan) -> tuple[float | None, float, int]:
    """Return (images per second, seconds to load the engine, images tried)."""
    first = max(1, FIRST_PROBE // len(plan.views))  # each goes through the backbone as often
    rate, load = _extract(listing, _spread(items, first), plan)
    more = min(MOST_PROBED, len(items), int((rate or 0) * PROBE_SECONDS))
    if more <= 2 * first:
        return rate, load, min(first, len(items))
    return *_extract(listing, _spread(items, more), plan), more


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items at equal distances."""
    step = max(1.0, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]


def _extract(listing: Listing, items: Sequence[Item], plan: Plan) -> tuple[float | None, float]:
    with tempfile.TemporaryDirectory(prefix="headstart-") as scratch:
        start = time.perf_counter()
        plain = replace(plan, stored_signature=None)
        some = replace(listing, items=tuple(items), further=None)
        work = Extraction(Store.at(Path(scratch) / "probe"), some, Known(), plain, Silent())
        try:
            work.run()
        except ScaleError:
            raise
        except InputError:  # none of these is an image
            return None, time.perf_counter() - start
        finally:
            work.close()
        load = work.engine.load_seconds
        return (work.extracted / work.busy_seconds if work.extracted else None), load


def _memory(known: Known, plan: Plan) -> int:
    """Return the peak so far, with what a long run holds besides: pixels, and shards twice."""
    shards = sum(grid.shard_rows * grid.row_bytes for grid in grids(known, plan))
    return peak_bytes() + PIXELS_AHEAD + 2 * (AHEAD + 1) * shards


def peak_bytes() -> int:
    """Return the most bytes that this process has held; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
