"""A picture of what the backbone will see: nine images with labels, nine views of the first.

Pixels are those that `run` would hand to the engine: decoded, turned, resized and augmented by the
same functions, and rounded to whole grey levels only here, to be looked at.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract import pixels as decoding
from extract.augment import Augmentation
from extract.errors import ImageError, InputError, StoreWriteError
from extract.items import Item, Listing
from extract.places import beside
from extract.plan import default_store
from extract.published import published
from extract.reading import read
from extract.recipe import PixelPolicy
from extract.sources import list_images
from extract.views import make_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ACROSS = 3
"""Pictures in a row, and rows of pictures."""
INCHES = 2.0
"""Side of a picture."""
LONGEST = 28
"""Letters of a label that are shown."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture as the backbone will see it."""

    title: str
    pixels: np.ndarray | None
    """(size, size, 3) float32 in 0..255; None where it cannot be read."""
    image_key: str = ""
    trouble: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview shows; `--json` prints its fields."""

    out: str
    items: int
    shown: list[str]
    """Paths of the nine images, or of all where there are fewer."""
    bad: int
    """Of these, images that cannot be read."""
    views: int
    augment: str
    """In its canonical form; empty where no views are shown."""


def preview(
    images: str | Path | Iterable[Any],
    out: str | Path | None = None,
    *,
    augment: str = "",
    policy: PixelPolicy | None = None,
    root: str | Path | None = None,
) -> Preview:
    """Draw nine images, at equal distances in the data set, and nine views of the first good one.

    Args:
        images: What `extract.run` takes: a folder, a table, an archive, a name, or arrays.
        out: A .png file; `<images>.preview.png` by default. An earlier picture is replaced.
        augment: How views differ, such as "flip,rotation=0.1"; without it none are drawn.
        policy: Size and resize; 224 pixels by default.
        root: For a table, the folder of its paths.

    Raises:
        InputError: If the images or the augmentation cannot be used, or none of the nine images
            can be read, or something else is at `out`.
        StoreWriteError: If the disk refuses.
    """
    policy = policy or PixelPolicy()
    augmentation = Augmentation.parse(augment) if augment else None
    target = Path(out) if out is not None else _default_out(images)
    _check_place(target)
    listing = list_images(images, root)
    items = _spread(listing.items)
    seen = [_see(listing, item, policy) for item in items]
    good = [one for one in seen if one.pixels is not None]
    if not good:
        raise InputError(
            f"None of {len(seen)} images of {listing.name} can be read: {seen[0].trouble}"
        )
    views = [] if augmentation is None else _views(good[0], augmentation)
    _write(target, _draw(seen, views, augment))
    return Preview(
        out=str(target),
        items=len(listing.items),
        shown=[item.path for item in items],
        bad=len(seen) - len(good),
        views=len(views),
        augment=augmentation.canonical if augmentation else "",
    )


def _default_out(images: object) -> Path:
    if not isinstance(images, str | Path):
        raise InputError("Arrays have no name to call a picture after. Give out=")
    store = beside(default_store(images))
    return store.with_name(store.name.removesuffix(".features") + ".preview.png")


def _check_place(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise InputError(f"{out} does not end with .png")
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent}. Make it, or give another --out")
    if os.path.lexists(out):
        with contextlib.suppress(OSError), open(out, "rb") as file:
            if file.read(len(PNG)) == PNG:
                return
        raise InputError(f"{out} is something else than a picture. Give another --out")


def _spread(items: Sequence[Item]) -> list[Item]:
    """Return nine items at equal distances: sorted by path, they come from several classes."""
    count = min(ACROSS**2, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _see(listing: Listing, item: Item, policy: PixelPolicy) -> Seen:
    title = _shortened(item.label if item.label is not None else item.path)
    try:
        file = read(listing, item)
        array, _ = decoding.load(file.data, policy)
    except ImageError as error:
        return Seen(title, None, trouble=f"{item.path}: {error.reason}")
    return Seen(title, array, file.read.image_key)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else "…" + text[1 - LONGEST :]


def _views(first: Seen, augmentation: Augmentation) -> list[Seen]:
    assert first.pixels is not None
    return [
        Seen(
            f"view {view}" if view else "view 0, plain",
            make_view(first.pixels, augmentation, first.image_key, view),
        )
        for view in range(ACROSS**2)
    ]


def _draw(seen: Sequence[Seen], views: Sequence[Seen], augment: str) -> Figure:
    from matplotlib.figure import Figure

    panels = 2 if views else 1
    side = ACROSS * INCHES
    figure = Figure(figsize=(panels * side, side * 1.2), layout="constrained")
    parts = figure.subfigures(1, panels, wspace=0.04, squeeze=False)[0]
    _draw_grid(parts[0], seen, "Images as the backbone sees them")
    if views:
        _draw_grid(parts[1], views, f"Views of the first one: {augment}")
    return figure


def _draw_grid(part: SubFigure, seen: Sequence[Seen], title: str) -> None:
    part.suptitle(title, fontsize="medium", parse_math=False, wrap=True)
    for cell in part.subplots(ACROSS, ACROSS).flat:
        cell.set_axis_off()
    for cell, one in zip(part.axes, seen, strict=False):
        _draw_picture(cell, one)


def _draw_picture(cell: Axes, one: Seen) -> None:
    cell.set_title(one.title, fontsize="small", parse_math=False)  # a label may hold a $
    if one.pixels is None:
        words = "cannot be read:\n" + _shortened(one.trouble)
        cell.text(0.5, 0.5, words, ha="center", va="center", fontsize="x-small", parse_math=False)
    else:
        cell.imshow(np.clip(np.rint(one.pixels), 0, 255).astype(np.uint8))


def _write(out: Path, figure: Figure) -> None:
    """Write the picture under a scratch name first, so that it is there whole or not at all."""
    sink = io.BytesIO()
    with warnings.catch_warnings():  # a letter that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(sink, format="png", dpi=110)
    try:
        with published(out) as scratch:
            scratch.write_bytes(sink.getvalue())
    except OSError as error:
        raise StoreWriteError(f"Cannot write {out}: {error.strerror or error}") from error
