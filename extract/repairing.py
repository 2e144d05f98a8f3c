"""Set aside what is damaged, and compute it again from the images, where they are found.

What is recomputed is what the newest snapshot's items refer to: images that came, went or moved
since are the next run's affair.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from extract.api import extract_listing
from extract.errors import HeadstartError, InputError
from extract.items import Item, Listing
from extract.known import Known, read_known
from extract.notebook import Shown
from extract.plan import Settings
from extract.progress import Reporter, Silent
from extract.store import header
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.store.setting_aside import set_aside
from extract.store.verify import verify
from extract.stored import GONE, Memory, remember

ROUNDS = 2
"""What only older snapshots name is given up in the second round: no run brings it back."""


@dataclass(slots=True)
class Repaired(Shown):
    """What a repair did."""

    moved: list[str] = field(default_factory=list)
    """Files that are in `damaged/` now."""
    extracted: int = 0
    """Images that went through the backbone again."""
    unreadable: int = 0
    """Items whose image is not there any more, or cannot be read: they have no features now."""
    problems: dict[str, str] = field(default_factory=dict)
    """What is still wrong."""
    snapshot: int | None = None
    """The newest snapshot; None where nothing had to be made anew, or it could not."""
    todo: str = ""
    """Why it was not finished; empty where it was."""


def repair(
    path: str | Path,
    images: str | Path | None = None,
    *,
    weights: str | None = None,
    reporter: Reporter | None = None,
) -> Repaired:
    """Move damaged and foreign files to `damaged/`, and make anew what they held.

    Args:
        path: The store's folder.
        images: Where the images are now; where they were last, by default.
        weights: The weights file, if it is not where it was.
        reporter: Hears progress.

    Returns:
        What was moved, and what is still to do: where the images or the recipe are not found, the
        damaged files are set aside all the same, and the run that made the store computes them.

    Raises:
        StoreError: If there is no store.
        StoreWriteError: If the disk refuses.
    """
    done = Repaired(problems=_problems(path))
    for _ in range(ROUNDS):
        if not done.problems or done.todo:
            break
        with read_errors(str(path)):
            memory = remember(Store.at(path))  # a damaged snapshot knows, and goes aside
        if header.NAME in done.problems:  # perhaps of another store, and whole
            memory = replace(memory, head=None)
        bad = list(done.problems)
        with read_errors(str(path)):
            moved = set_aside(path, bad)
        done.moved += moved
        done.problems = verify(path, quick=True).problems
        if not done.problems and not any(name.startswith("snapshots/") for name in moved):
            break  # what was moved was foreign
        try:
            listing, settings = _work(memory, [*moved, *bad], images, weights)
            store = Store.at(path)
            summary = extract_listing(listing, store, settings, reporter or Silent())
        except HeadstartError as error:
            done.todo = str(error)
        else:
            done.extracted += summary.extracted
            done.unreadable = summary.unreadable
            done.snapshot = summary.snapshot
        done.problems = _problems(path)
    return done


def _problems(path: str | Path) -> dict[str, str]:
    """Return what is wrong with a store. What the disk refused to read is looked at again.

    A disk that refuses once may do it never again, and what is whole must not be set aside.
    """
    found = verify(path)
    return (verify(path) if found.refused else found).problems


def _work(
    memory: Memory, bad: Sequence[str], images: str | Path | None, weights: str | None
) -> tuple[Listing, Settings]:
    """Return the run that makes anew what was moved, now or by a repair that was stopped."""
    settings = memory.settings(weights)
    with read_errors(memory.store):
        known = read_known(Store.at(memory.store))
    if known.items is None or any(_is_newer_snapshot(name, known) for name in bad):
        return memory.listing(images, "--images"), settings
    listing = memory.listing(images, "--images", known.items)
    _check_there(memory.store, listing, known.items)
    return listing, settings


def _check_there(store: str, listing: Listing, items: pa.Table) -> None:
    """Raise `InputError` if most images are gone: a snapshot of what is left would lose the rest.

    `run` refuses a folder without files for the same reason. A few that went away are items that
    cannot be read.
    """
    had = set(items.filter(pc.is_valid(items["image_key"]))["path"].to_pylist())
    gone = sum(item.path in had and _is_gone(listing, item) for item in listing.items)
    if 2 * gone > len(had):
        raise InputError(
            f"{gone:,} of the {len(had):,} images of {store} are gone from {listing.root}. "
            f"Give --images FOLDER, where they are now"
        )


def _is_gone(listing: Listing, item: Item) -> bool:
    if listing.source is not None:
        return item.trouble == GONE
    return not os.path.exists(listing.root / item.path)


def _is_newer_snapshot(name: str, known: Known) -> bool:
    """Return whether a file belonged to a snapshot after the newest one that is left."""
    folder, _, rest = name.partition("/")
    number = rest.partition(".")[0]
    newest = known.previous.number if known.previous else 0
    return folder == "snapshots" and number.isdigit() and int(number) > newest
