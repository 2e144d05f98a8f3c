"""Why a store cannot serve a run, or what it lacks for it, and what that would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extract.errors import BackboneError, InputError
from extract.estimating import Estimate, estimate_plan
from extract.known import Known, read_known
from extract.notebook import Shown
from extract.plan import Settings, make_plan
from extract.progress import Reporter, Silent
from extract.recipe import differences
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.store.reader import Snapshot
from extract.stored import listing_of, remember


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Shown):
    """How a store and a run differ."""

    differences: tuple[tuple[str, Any, Any], ...]
    """(field of the recipe, the store's value, the run's value); none where the recipe fits."""
    missing_columns: tuple[str, ...]
    """Columns that the run asks for and the store lacks."""
    images: str | None
    """Where the images were found; None where they were not, and the time is unknown."""
    folder: str | None
    """For a table, the folder of its paths."""
    cost: Estimate | None
    """Of the run: over this store where the recipe fits, else of another store. None where the
    backbone or its weights cannot be had: then `differences` are those that arguments tell."""
    missing: str = ""
    """What cannot be had of the backbone, where there is no cost."""

    @property
    def fits(self) -> bool:
        """Whether the run may use the store."""
        return not self.differences


def explain(
    path: str | Path,
    settings: Settings,
    images: str | Path | None = None,
    *,
    reporter: Reporter | None = None,
) -> Explanation:
    """Compare a store's recipe with that of a run, and say what the run would cost.

    The store is not touched; a backbone that had to be converted stays in the user's cache. Where
    its weights are not at hand, what the arguments tell is enough for an answer.

    Args:
        path: The store's folder.
        settings: What `run` would be asked for.
        images: Where the images are now; where they were last, by default.
        reporter: Hears of what takes long.

    Raises:
        StoreError: If there is no store.
        BackboneError: If the backbone or its weights cannot be had, and its name, its arguments and
            the pixels are those of the store.
    """
    store = Store.at(path)
    snapshot = store.open()
    with read_errors(store.path):
        known = read_known(store)
    listener = reporter or Silent()
    try:
        wanted = make_plan(settings, Known(), store.path, listener)
    except BackboneError as error:
        if not (told := _told_by_arguments(snapshot, settings)):
            raise
        return Explanation(
            differences=tuple(told),
            missing_columns=(),
            images=None,
            folder=None,
            cost=None,
            missing=str(error),
        )
    found = differences(snapshot.recipe, wanted.recipe)
    names = _names(snapshot, settings)
    if found and names[0] != names[1]:
        found.insert(0, ("backbone", *names))
    stored = next((column.augment for column in snapshot.columns if column.view), "")
    if stored and settings.augment and stored != settings.augment:
        found.append(("augment", stored, settings.augment))
    have = {column.canonical for column in snapshot.columns}
    plan = wanted
    if found:
        known = Known()
    else:
        plan = make_plan(settings, known, store.path, listener)
    try:
        listing = remember(store).listing(images, "--images")
        place = listing.found_at
    except InputError:
        if images is not None:
            raise
        listing, place = listing_of(Path(), snapshot.items), {}
    return Explanation(
        differences=tuple(found),
        missing_columns=tuple(c.name for c in wanted.columns if c.canonical not in have),
        images=place.get("images"),
        folder=place.get("folder"),
        cost=estimate_plan(listing, store, known, plan, probe=bool(place)),
    )


def _names(snapshot: Snapshot, settings: Settings) -> tuple[Any, Any]:
    return snapshot.backbone.get("name"), settings.spec.name


def _told_by_arguments(snapshot: Snapshot, settings: Settings) -> list[tuple[str, Any, Any]]:
    """Return the differences that need no backbone to be seen.

    The pixels of a preset are its own, and not known without it.
    """
    names, spec = _names(snapshot, settings), settings.spec
    if names[0] != names[1]:
        return [("backbone", *names)]
    stored = snapshot.recipe
    pixels = stored.pixels if spec.kind == "hub" else settings.pixels
    return differences(stored, replace(stored, arguments=spec.changed_arguments, pixels=pixels))
