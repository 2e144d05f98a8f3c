"""Reading features back from shards, beside `np.load` of the same bytes, for bench_extract."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import scratch, seconds_of
from extract.store.file_shards import FileShards
from extract.store.files import LocalFiles
from extract.store.hdf5_shards import HDF5Format
from extract.store.header import FOLDERS
from extract.store.shards import Grid, ShardFormat
from extract.store.zarr_shards import ZarrFormat


def measure_reading(rows: int, width: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure reading features back, in bytes per second, beside `np.load` of the same bytes."""
    features = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    found: dict[str, dict[str, float]] = {}
    forms: Sequence[ShardFormat] = (ZarrFormat(), HDF5Format())
    with scratch() as folder:
        np.save(folder / "plain.npy", features)
        for form in forms:
            found[form.suffix] = _reading(folder, form, features, repeats)
    return found


def _reading(
    folder: Path, form: ShardFormat, features: np.ndarray, repeats: int
) -> dict[str, float]:
    files = LocalFiles(folder / form.suffix.strip("."))
    for name in ("", *FOLDERS):
        files.make_folder(name)
    grid = Grid.of(features.shape[1:], "float32")
    shards = FileShards(files, [form])
    steps = range(0, len(features), grid.shard_rows)
    refs = [
        shards.write(f"{start:064x}", features[start : start + grid.shard_rows], grid)
        for start in steps
    ]

    def read(place: FileShards) -> None:
        out = np.empty_like(features)
        for start, ref in zip(steps, refs, strict=True):
            place.read(ref, 0, ref.rows, out[start : start + ref.rows])

    load, checked, first = [], [], []
    for _ in range(repeats):
        load.append(seconds_of(lambda: np.load(folder / "plain.npy")))
        place = FileShards(files, [form])
        first.append(seconds_of(lambda place=place: read(place)))  # type: ignore[misc]
        checked.append(seconds_of(lambda place=place: read(place)))  # type: ignore[misc]
    ratios = [a / b for a, b in zip(load, checked, strict=True)]
    return {
        "times_np_load": statistics.median(ratios),
        "with_check_gb_per_second": features.nbytes / statistics.median(first) / 1e9,
    }
