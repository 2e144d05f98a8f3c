"""How time, memory and disk grow: slopes measured here, and the model that they imply.

    python -m benchmarks.scaling --shared ../shared --out benchmarks/results

- store     writing a store of noise (`benchmarks.synthetic`: everything but decoding and the
            backbone), opening and reading all of it; by rows and by feature width
- ridge     a ridge head on such rows, in memory; by rows
- linear    an epoch of a Keras head on them, from the difference between two runs; by rows
- sweep     linear heads trained at once, ten epochs; by heads
- extract   images per second of MobileNetV2 0.35 at 224 pixels over photographs, each made another
            by bytes at its end; by images

Each size is a process of its own, which gives its memory at the peak. `benchmarks.scaling_model`
says what the sizes imply.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import processes, results, synthetic
from benchmarks.command_line import in_one_line, photographs_of
from benchmarks.scaling_model import beyond, measured, slopes, turning_points
from benchmarks.timing import seconds_of

WIDTH = 1280
ROWS = (1000, 10_000, 100_000)
EPOCH_ROWS = 100_000
"""Rows in all epochs together that a small epoch is timed over."""


def store(rows: int, width: int) -> dict[str, float]:
    """Write and read a store."""
    import extract

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder) / "noise.features"
        write = seconds_of(lambda: synthetic.fill(place, rows, (width,)))
        peak = processes.peak_of(os.getpid()) or 0  # before all rows are read into memory
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        read = seconds_of(lambda: extract.open_store(place).take(np.arange(rows)))
    return {"seconds": write, "read_seconds": read, "disk_bytes": size, "write_peak_bytes": peak}


def _noise(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, width), np.float32), np.arange(rows) % 10


def ridge(rows: int, width: int) -> dict[str, float]:
    """Train a ridge head on rows in memory."""
    from heads.ridge import RidgeHead

    X, y = _noise(rows, width)
    return {"seconds": seconds_of(lambda: RidgeHead().fit(X, y))}


def linear(rows: int, width: int) -> dict[str, float]:
    """Train a Keras head for two epochs, and for more: small epochs vanish in one run's noise."""
    from heads.neural import LinearHead

    X, y = _noise(rows, width)

    def fit(epochs: int) -> float:
        head = LinearHead(epochs=epochs, early_stopping=None, random_state=0)
        return seconds_of(lambda: head.fit(X, y))

    fit(1)
    more = min(100, max(2, EPOCH_ROWS // rows))
    return {"seconds": (fit(2 + more) - fit(2)) / more}


def sweep(heads: int, width: int) -> dict[str, float]:
    """Train linear heads at once, on 2000 rows."""
    from benchmarks.heads_linear import draw
    from benchmarks.heads_sweep import table_of
    from heads import halving
    from heads.grid import Grid as Settings

    X, y, count = draw(2000, width)
    y = y % 10
    rates = tuple(np.geomspace(1e-4, 1e-1, heads).tolist())
    grid = Settings(learning_rates=rates, weight_decays=(0.0,), label_smoothings=(0.0,))
    settings = grid.settings(["features"])
    table = {"features": table_of(X, y, count, 10)}
    return {"seconds": seconds_of(lambda: halving.train(table, settings, 10, False))}


WORK: Mapping[str, Callable[[int, int], dict[str, float]]] = {
    "store": store,
    "ridge": ridge,
    "linear": linear,
    "sweep": sweep,
}


def in_a_process(what: str, count: int, width: int = WIDTH) -> dict[str, float]:
    """Do work of one size in a process of its own; return what it took, with its peak."""
    done = processes.run(["-m", "benchmarks.scaling", "--work", what, count, width])
    return {**done.facts, "peak_bytes": done.peak_bytes or 0}


def extraction(
    photos: Path, count: int, options: Sequence[str] = ("--backbone-arg", "alpha=0.35")
) -> dict[str, float]:
    """Extract features of so many photographs, those of a folder again and again."""
    found = sorted(path for path in photos.rglob("*") if path.suffix == ".jpg")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place, store = Path(folder) / "photos", Path(folder) / "p.features"
        place.mkdir()
        for number in range(count):
            copy = place / f"{number:06d}.jpg"
            shutil.copyfile(found[number % len(found)], copy)
            with copy.open("ab") as file:
                file.write(b"%d" % number)  # after the picture's end: other bytes, the same pixels
        done = processes.run_command("extract", "run", place, "--store", store, *options)
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert done.facts["extracted"] == count  # no copy was taken for another
    return {
        "seconds": count / done.facts["images_per_second"],
        "process_seconds": done.seconds,
        "disk_bytes": size,
        "peak_bytes": done.peak_bytes or 0,
    }


def measure(
    photos: Path | None,
    rows: Sequence[int] = ROWS,
    widths: Sequence[int] = (256, 1280, 2048),
    heads: Sequence[int] = (1, 10, 50),
    images: Sequence[int] = ROWS,
) -> dict[str, Any]:
    """Measure every size; return JSON values."""
    facts: dict[str, Any] = {"width": WIDTH}
    for what in ("store", "ridge", "linear"):
        facts[what] = {str(count): in_a_process(what, count) for count in rows}
    middle = sorted(rows)[len(rows) // 2]
    facts["rows_of_widths"] = middle
    facts["widths"] = {str(width): in_a_process("store", middle, width) for width in widths}
    facts["sweep"] = {str(count): in_a_process("sweep", count) for count in heads}
    if photos is not None:
        facts["extract"] = {str(count): extraction(photos, count) for count in images}
    return facts


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, help="of photographs; none are extracted without")
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    parser.add_argument("--tiny", action="store_true", help="few rows")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options, before = parser.parse_args(words), results.load_average()
    if options.work:
        what, count, width = options.work
        print(json.dumps(WORK[what](int(count), int(width))))
        return
    photos = options.shared and photographs_of(options.shared.resolve(), "cats_dogs_200px")
    start = time.perf_counter()
    sizes = {"rows": (20, 40), "widths": (8, 16), "heads": (1, 2), "images": (2, 4)}
    facts = measure(photos, **sizes if options.tiny else {})
    for grid in (measured(facts), slopes(facts), beyond(facts)):
        grid.show()
    for text in turning_points(facts):
        print(text, file=sys.stderr)
    print(f"{time.perf_counter() - start:.0f} s in all", file=sys.stderr)
    if options.out is not None:
        print(results.save(options.out, "scaling", facts, before))


if __name__ == "__main__":
    in_one_line(main)
