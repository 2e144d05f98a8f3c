"""Rows of a store whose features must be computed, because no store has them: from its images.

A fine-tuned network has a backbone of its own. Its features of a store's items come from the
images that the items name: each is read once, known by its digest, decoded and put through the
model's backbone, as `predict` does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from extract import pixels
from extract.cores import num_cores
from extract.errors import ImageError
from extract.items import FILES, SCHEMES, Item
from extract.places import beside, bucket_url, local_path
from extract.reading import read_item
from extract.stages import Stage
from extract.store.reader import Data, Snapshot
from heads.data import Source
from heads.errors import HeadError
from heads.model import Model
from heads.predicting import load_predictor

ROWS = 32
"""Rows of one block."""
ARCHIVES = (".zip", ".tar")
"""Files that hold images as files."""


def images_root(snapshot: Snapshot, images: str | Path | None = None) -> Path:
    """Return the folder that a store's paths are in: as given, as it was, else beside the store.

    Raises:
        HeadError: If it is in none of these places, or the images are no files of a folder.
    """
    store, found_at = beside(snapshot.path).resolve(), snapshot.record.found_at
    was = found_at.get("folder") or found_at.get("images", "")
    near = [store.with_suffix("")]
    if was:
        near = [Path(was), store.with_name(Path(was).name), *near]
    places = near if images is None else [local_path(images)]
    for place in places:
        if place.is_dir():
            return place
    if images is None:
        _refuse_other_sources(snapshot, was)
    shown = " or ".join(dict.fromkeys(map(str, places)))
    raise HeadError(
        f"The images of {snapshot.path} are not at {shown}, and a fine-tuned model needs them. "
        f"Say where they are: --images FOLDER"
    )


def _refuse_other_sources(snapshot: Snapshot, was: str) -> None:
    """Raise `HeadError` where images were in an archive, an array file or a named data set."""
    kind = Path(was).suffix.lower()
    if bucket_url(was):
        cure = "Copy it to this machine, and give --images FOLDER"
    elif kind in ARCHIVES:
        cure = "Unpack it, and give --images FOLDER"
    elif kind in FILES or was.partition(":")[0] in SCHEMES:
        cure = "Extract from one: python -m extract run FOLDER"
    else:
        return
    raise HeadError(
        f"{snapshot.path} was made from {was}, and a fine-tuned model takes its images from the "
        f"files of a folder. {cure}"
    )


def read_pixels(root: Path, path: str, image_key: str, model: Model) -> np.ndarray:
    """Return (size, size, 3) float32 of one image, as the model's backbone sees it.

    Raises:
        HeadError: If it cannot be read, or is another image than the store knows.
    """
    return _decode(read_known(root, path, image_key), path, model)


def read_known(root: Path, path: str, image_key: str) -> bytes:
    """Return the bytes of an item's file, if they still are those that the store knows.

    Raises:
        HeadError: If not.
    """
    try:
        file = read_item(root, Item(path))
    except ImageError as error:
        raise HeadError(
            f"{root / path} cannot be read ({error.reason}). Say where the images are: "
            f"--images FOLDER"
        ) from error
    if file.read.image_key != image_key:
        raise HeadError(
            f"{root / path} is another image than when it was extracted. Take the change over: "
            f"python -m extract run {root}"
        )
    assert isinstance(file.data, bytes)  # a file of a folder
    return file.data


def _decode(data: bytes, path: str, model: Model) -> np.ndarray:
    try:
        return pixels.load(data, model.recipe.pixels)[0]
    except ImageError as error:
        raise HeadError(f"{path} cannot be decoded any more: {error}") from error


def blocks(
    model: Model, source: Source, split: str, images: str | Path | None = None
) -> Iterator[Data]:
    """Yield the labeled rows of a split, as `Source.blocks` does, with the model's features.

    Raises:
        HeadError: If the images are not at hand, or are others than the store knows.
        StaleModelError, BackboneError: If the model's backbone cannot be had.
    """
    items = source.items(split)
    root = images_root(source.snapshot, images)
    predictor = load_predictor(model)
    codes = source.codes(items)
    rows = items.select(["path", "image_key"]).to_pylist()

    def load(row: dict[str, str]) -> np.ndarray:
        return read_pixels(root, row["path"], row["image_key"], model)

    stage: Stage[dict[str, str], np.ndarray] = Stage(load, num_cores(), 2 * ROWS)
    try:
        decoded = stage(rows)
        for start in range(0, len(rows), ROWS):
            here = rows[start : start + ROWS]
            batch = np.stack([np.asarray(next(decoded)[1]) for _ in here])
            taken = items.slice(start, len(here))
            yield Data(predictor.features(batch), codes[start : start + len(here)], taken)
    finally:
        stage.close()
