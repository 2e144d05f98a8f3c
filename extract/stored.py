"""What a store remembers of the run that made it: its settings, and where its images were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from extract.backbones import BackboneSpec
from extract.errors import InputError, StoreError
from extract.known import Known
from extract.plan import Settings
from extract.prepared import WEIGHTS_WORDS, Request, cached
from extract.recipe import Column, LayerRequest


def stored_settings(store: str, known: Known, weights: str | None = None) -> Settings:
    """Return settings that give a store's own recipe, columns and engine.

    Args:
        store: Its name, for messages.
        known: Its state.
        weights: Where the weights file is now, if not where it was.

    Raises:
        StoreError: If the store has no header or no snapshot.
    """
    if known.head is None or known.previous is None:
        raise StoreError(
            f"{store} does not say how it was made. Type the command that made it: "
            f"python -m extract run IMAGES --store {store}"
        )
    recipe, columns = known.head.recipe, [c.column for c in known.previous.columns]
    locators = known.head.backbone
    spec = BackboneSpec(
        name=locators["name"],
        arguments=locators["arguments"],
        weights=weights or _weights(str(locators["weights"]), known.previous.found_at),
    )
    dtype = columns[0].dtype
    named = tuple(LayerRequest(c.layer, c.pooling) for c in columns if c.dtype == dtype)
    refs = known.previous.columns[0].refs
    return Settings(
        spec=spec,
        pixels=recipe.pixels,
        # Columns of another type on disk go on by themselves: a snapshot never loses one.
        layers=() if _are_default(spec, recipe.pixels.image_size, columns) else named,
        dtype=dtype,
        precision=recipe.precision,
        format="hdf5" if refs[-1].file.endswith(".h5") else "zarr",
    )


def _are_default(spec: BackboneSpec, image_size: int, columns: Sequence[Column]) -> bool:
    """Return whether naming no layer gives these columns, as far as the cache can tell.

    Then the backbone that the store's run converted is used, and not converted again by name.
    """
    found = cached(Request(spec=spec, image_size=image_size, layers=(LayerRequest(),)), "openvino")
    return found is not None and [c.canonical for c, _ in found.columns] == [
        replace(c, dtype="float32").canonical for c in columns
    ]


def _weights(typed: str, found_at: object) -> str:
    """Return the weights as they were typed, or the file that they were found in."""
    if typed in WEIGHTS_WORDS or Path(typed).expanduser().is_file():
        return typed
    return found_at.get("weights", typed) if isinstance(found_at, dict) else typed


def find_images(store: str, known: Known, given: str | Path | None, option: str) -> Path:
    """Return the folder of a store's images: the given one, the last one, or that beside it.

    Raises:
        InputError: If none of these is a folder; it names `option`.
    """
    last = known.previous.found_at.get("images") if known.previous else None
    beside = Path(store).with_suffix("") if Path(store).suffix == ".features" else None
    places = [given] if given is not None else [last, beside]
    for place in places:
        if place is not None and Path(place).is_dir():
            return Path(place).resolve()
    shown = " and ".join(str(place) for place in places if place is not None) or "nowhere"
    raise InputError(f"The images of {store} are not in {shown}. Give {option} FOLDER")
