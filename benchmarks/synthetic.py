"""A run on a backbone of arithmetic, in a process of its own: what all but the backbone costs.

    python -m benchmarks.synthetic run|plan SOURCE STORE

SOURCE is a folder, or a number of images in memory. Prints one JSON object: items, seconds of the
work without imports, and the most memory that the process held, in MB. Files are not decoded:
listing, reading, hashing, writing and sealing are as ever.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import extract
from extract import estimating
from extract.engines.engine import Engine
from extract.estimating import Estimate
from extract.prepared import Prepared, Request
from extract.recipe import Column, PixelPolicy, Preprocessing

WIDTH = 8
COLUMN = Column(operation=9, layer="last", pooling="avg")


class Arithmetic(Engine):
    """Features that are noise, the same for every image, plus the first number of the image."""

    batch_size = 256
    streams = 1

    def __init__(self, row_shape: tuple[int, ...] = (WIDTH,)) -> None:
        self.signature = {"engine": "synthetic", "version": "1", "instructions": "none"}
        self._noise = np.random.default_rng(0).normal(size=row_shape).astype(np.float32)

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        first = pixels.reshape(len(pixels), -1)[:, 0].astype(np.float32)
        return [self._noise + first.reshape(-1, *[1] * self._noise.ndim)]


class Numbers(Sequence[np.ndarray]):
    """Images (1, 4, 3) uint8 that are their own position."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return np.frombuffer(int(index).to_bytes(12, "little"), np.uint8).reshape(1, 4, 3)


def prepared(request: Request, kind: str, row_shape: tuple[int, ...] = (WIDTH,)) -> Prepared:
    """Prepare nothing."""
    return Prepared(
        graph_digest="0" * 64,
        weights_digest="1" * 64,
        arguments=dict(request.spec.arguments),
        preprocessing=Preprocessing(),
        columns=((COLUMN, row_shape),),
        weights={},
        folder=Path(),
        files={},
    )


def picture(data: bytes | np.ndarray, policy: PixelPolicy) -> tuple[np.ndarray, None]:
    """Return pixels that the bytes decide."""
    value = zlib.crc32(data if isinstance(data, bytes) else data.tobytes()) / 2**24
    return np.full((policy.image_size, policy.image_size, 3), value, np.float32), None


@contextmanager
def replaced(row_shape: tuple[int, ...] = (WIDTH,)) -> Iterator[None]:
    """Put arithmetic in the place of the backbone and of decoding."""
    with (
        mock.patch("extract.plan.cached", partial(prepared, row_shape=row_shape)),
        mock.patch("extract.lazy_engine._load", return_value=Arithmetic(row_shape)),
        mock.patch("extract.pixels.load", picture),
    ):
        yield


def fill(store: Path, rows: int, row_shape: tuple[int, ...], format: str = "zarr") -> None:
    """Write a store of so many rows of noise, (*row_shape) float32."""
    with replaced(row_shape):
        extract.run(Numbers(rows), store, backbone="digits", format=format)


def work(what: str, source: str, store: str) -> dict[str, float]:
    """Run or plan once, and say what it took."""
    images: Any = Numbers(int(source)) if source.isdigit() else source
    ask: Any = extract.run if what == "run" else extract.estimate
    with replaced():
        start = time.perf_counter()
        found = ask(images, store, backbone="digits")
        seconds = time.perf_counter() - start
    done = found.extract if isinstance(found, Estimate) else found.extracted
    peak = estimating.peak_bytes() / 1e6
    return {"items": found.items, "extracted": done, "seconds": seconds, "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(work(*sys.argv[1:])))
