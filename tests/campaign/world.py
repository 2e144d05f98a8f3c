"""A small data set, a backbone of arithmetic, and what a store of them must say.

The pipeline is the real one; only the backbone is arithmetic, shards hold four rows, and probes
are few, so that a whole extraction takes milliseconds and a campaign can do thousands.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import extract
from extract import prepared, probes
from extract.reading import image_key
from extract.store import item_tables
from extract.store.opening import open_store
from extract.store.reader import Snapshot
from tests.helpers import SyntheticEngine, synthetic_prepared, tree

Tree = dict[str, bytes]
"""A folder: relative name → bytes."""

IMAGE_SIZE = 16
SHARD_ROWS = 4
COLUMNS = ("last",)
OPTIONS = {"backbone": "digits", "image_size": IMAGE_SIZE, "layers": list(COLUMNS), "workers": 1}
WORDS = ("--backbone=digits", "--image-size=16", "--layer=last", "--workers=1", "--max-bad=100%")
"""The same on the command line, where many bad images are another exit status."""
FEW_PROBES = ("grey.jpg", "plain.png")


@contextlib.contextmanager
def arithmetic_backbone() -> Iterator[SyntheticEngine]:
    """Replace the backbone, shrink shards and probes; yields the engine."""
    engine = SyntheticEngine()
    few = _few_probes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.plan.cached", lambda request, kind: synthetic_prepared(request))
        patch.setattr(
            "extract.lazy_engine._load", lambda plan, precision: copy(engine).for_plan(plan)
        )
        patch.setattr("extract.store.shards.SHARD_ROWS", SHARD_ROWS)
        patch.setattr("extract.probes.NAMES", FEW_PROBES)
        patch.setattr("extract.probes.MOST_OF_USER", 2)
        patch.setattr("extract.probes.synthetic", lambda: few)
        # The same tables are read, and the same versions asked for, thousands of times.
        patch.setattr(
            "extract.store.snapshots.read_parquet", lru_cache(64)(item_tables.read_parquet)
        )
        patch.setattr("extract.prepared._version", cache(prepared._version))
        yield engine


@cache
def _few_probes() -> dict[str, bytes]:
    return {name: _small(data) for name, data in probes.synthetic().items() if name in FEW_PROBES}


def _small(data: bytes) -> bytes:
    sink = io.BytesIO()
    picture = Image.open(io.BytesIO(data))
    picture.resize((20, 16)).save(sink, picture.format)
    return sink.getvalue()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where the machine has one: thousands of stores are written into it."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=place))
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_tree(folder: Path, content: Mapping[str, bytes]) -> Path:
    """Make a folder hold exactly these files, and the folders whose names end with "/"."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for place in {name.rpartition("/")[0] for name in content}:
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        if name.endswith("/"):
            continue
        with open(folder / name, "wb") as file:
            file.write(data)
    return folder


def picture(seed: int) -> bytes:
    """Return a small random PNG that `seed` decides."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


EARLY = {
    "train/cats/0.png": picture(0),
    "train/dogs/1.png": picture(1),
    "train/dogs/2.png": picture(2),
    "validation/cats/3.png": picture(3),
    "test/dogs/4.png": picture(4),
}
"""A data set in split folders, which decide the splits whatever a store went through."""
LATE = {name: data for name, data in EARLY.items() if name != "train/dogs/1.png"} | {
    "train/cats/copy.png": picture(0),
    "train/cats/bad.jpg": b"not a picture",
    "train/cats/new.png": picture(5),
    "train/dogs/new.png": picture(6),
}
"""The same a while later: one gone, a copy, a bad one, two new ones."""


@dataclass(frozen=True)
class Truth:
    """What a store of a data set must say, from undisturbed extractions of single images."""

    features: Mapping[tuple[str, str], np.ndarray]
    """(image key, column) → (width,) float32."""
    root_digest: str
    items_digest: str

    def problems(self, snapshot: Snapshot, root: bool = True) -> list[str]:
        """Return what a snapshot says that is not so; `root` whether it must be the whole."""
        found = []
        if root and snapshot.root_digest != self.root_digest:
            found.append("another root digest")
        if root and snapshot.items_digest != self.items_digest:
            found.append("another items digest")
        for column in COLUMNS:
            data = snapshot.load(None, column)
            for row, key in zip(data.X, data.items["image_key"].to_pylist(), strict=True):
                if row.tobytes() != self.features[key, column].tobytes():
                    found.append(f"wrong features of {key[:8]} in {column}")
        return found


def extract_folder(photos: Path, store: Path, **options: object) -> extract.api.Summary:
    """Run an extraction with the campaign's settings."""
    return extract.run(photos, store, **{**OPTIONS, **options})


def truth_of(folder: Path, *contents: Mapping[str, bytes]) -> Truth:
    """Return what is so of the last of several data sets, and of all their images."""
    features: dict[tuple[str, str], np.ndarray] = {}
    pictures = {image_key(data): data for content in contents for data in content.values()}
    with contextlib.suppress(extract.errors.InputError):
        for number, (key, data) in enumerate(pictures.items()):
            if data == b"not a picture":
                continue
            alone = write_tree(folder / f"alone-{number}", {"x/one.png": data})
            extract_folder(alone, folder / f"alone-{number}.features")
            snapshot = open_store(folder / f"alone-{number}.features")
            for column in COLUMNS:
                features[key, column] = snapshot.load(None, column).X[0]
    whole = write_tree(folder / "whole", contents[-1])
    extract_folder(whole, folder / "whole.features")
    snapshot = open_store(folder / "whole.features")
    return Truth(features, snapshot.root_digest, snapshot.items_digest)


@contextlib.contextmanager
def numbered_scratch_names() -> Iterator[None]:
    """Give scratch files names in order, so that the same steps leave the same files."""
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_hex", lambda n=8: f"{next(numbers):0{2 * n}x}")
        yield


__all__ = [
    "COLUMNS",
    "EARLY",
    "LATE",
    "OPTIONS",
    "SHARD_ROWS",
    "WORDS",
    "Tree",
    "Truth",
    "arithmetic_backbone",
    "extract_folder",
    "numbered_scratch_names",
    "picture",
    "scratch",
    "tree",
    "truth_of",
    "write_tree",
]
