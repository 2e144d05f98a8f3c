"""How time, memory and disk grow: slopes measured here, and the model that they imply.

    python -m benchmarks.scaling --shared ../shared --out benchmarks/results

- store     writing a store of noise (`benchmarks.synthetic`: everything but decoding and the
            backbone), opening and reading all of it; by rows and by feature width
- ridge     a ridge head on such rows, in memory; by rows
- linear    an epoch of a Keras head on them, from the difference between two runs; by rows
- sweep     linear heads trained at once, ten epochs; by heads
- extract   images per second of MobileNetV2 0.35 at 224 pixels over photographs, each made another
            by bytes at its end; by images

Each size is a process of its own, which gives its memory at the peak. The model is a + b x, with a
and b not negative and least squares of relative errors. What lies beyond the largest size is
reckoned, and was not run.
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
from benchmarks.tables import Grid
from benchmarks.timing import seconds_of

WIDTH = 1280
ROWS = (1000, 10_000, 100_000)
BEYOND = (10**6, 10**8, 10**9)
DAY = 86_400.0
MEMORY = 64e9
"""Bytes of a large desktop machine."""
EPOCHS = 30
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


def extraction(photos: Path, count: int) -> dict[str, float]:
    """Extract features of so many photographs, those of a folder again and again."""
    found = sorted(path for path in photos.rglob("*") if path.suffix == ".jpg")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder) / "photos"
        place.mkdir()
        for number in range(count):
            copy = place / f"{number:06d}.jpg"
            shutil.copyfile(found[number % len(found)], copy)
            with copy.open("ab") as file:
                file.write(b"%d" % number)  # after the picture's end: other bytes, the same pixels
        done = processes.run_command(
            *("extract", "run", place, "--store", Path(folder) / "p.features"),
            *("--backbone-arg", "alpha=0.35"),
        )
    return {
        "seconds": count / done.facts["images_per_second"],
        "peak_bytes": done.peak_bytes or 0,
    }


def measure(
    photos: Path | None,
    rows: Sequence[int] = ROWS,
    widths: Sequence[int] = (256, 1280, 2048),
    heads: Sequence[int] = (1, 10, 50),
    images: Sequence[int] = (100, 1000),
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


def line(sizes: Mapping[str, Mapping[str, float]], what: str) -> tuple[float, float]:
    """Return (a, b) of what = a + b x, both at least 0, least squares of relative errors.

    A size whose time was lost in noise (not above 0) says nothing of relative errors: it is left
    out.

    Raises:
        ValueError: If no size is left.
    """
    from scipy.optimize import nnls

    kept = {float(size): facts[what] for size, facts in sizes.items() if facts[what] > 0}
    if not kept:
        raise ValueError(f"{what} is above 0 at some size. Received: {list(sizes)}")
    x, y = np.array(list(kept)), np.array(list(kept.values()))
    (start, slope), _ = nnls(np.stack([1 / y, x / y], axis=1), np.ones(len(y)))
    return float(start), float(slope)


def slopes(facts: Mapping[str, Any]) -> Grid:
    """Return the lines through what was measured."""
    grid = Grid("Lines through what was measured: a + b x", ("what", "x", "a", "b"))
    for name, key, what, unit, text in LINES:
        if key in facts:
            start, slope = line(facts[key], what)
            grid.add(f"{name}, {unit}", text, f"{start:.4g}", f"{slope:.4g}")
    return grid


LINES = (
    ("extraction", "extract", "seconds", "s", "images"),
    ("writing a store, without backbone", "store", "seconds", "s", "rows"),
    ("memory of that", "store", "write_peak_bytes", "bytes", "rows"),
    ("disk", "store", "disk_bytes", "bytes", "rows"),
    ("reading all rows", "store", "read_seconds", "s", "rows"),
    ("writing a store", "widths", "seconds", "s", "width"),
    ("disk", "widths", "disk_bytes", "bytes", "width"),
    ("ridge head", "ridge", "seconds", "s", "rows"),
    ("memory of that", "ridge", "peak_bytes", "bytes", "rows"),
    ("epoch of a Keras head", "linear", "seconds", "s", "rows"),
    ("sweep of linear heads", "sweep", "seconds", "s", "heads"),
)


def measured(facts: Mapping[str, Any]) -> Grid:
    """Return what was measured, size by size."""
    grid = Grid("Measured", ("what", "x", "seconds", "MB, peak", "MB, disk"))
    for key, text in (
        ("extract", "images"),
        ("store", "rows"),
        ("widths", f"numbers in each of {facts['rows_of_widths']:,} rows"),
        ("ridge", "rows"),
        ("linear", "rows, an epoch"),
        ("sweep", "heads"),
    ):
        for size, found in facts.get(key, {}).items():
            disk = found.get("disk_bytes")
            grid.add(
                "store" if key == "widths" else key,
                f"{int(size):,} {text}",
                f"{found['seconds']:.3f}",
                f"{found.get('write_peak_bytes', found['peak_bytes']) / 1e6:,.0f}",
                "-" if disk is None else f"{disk / 1e6:,.1f}",
            )
    return grid


def beyond(facts: Mapping[str, Any]) -> Grid:
    """Return what the lines say of sizes that nobody ran."""
    grid = Grid(
        f"Reckoned for one machine, {facts['width']} numbers of float32 per image",
        ("what", *(f"{rows:,} images" for rows in BEYOND)),
    )

    def add(name: str, key: str, what: str, shown: Callable[[float], str], times: int = 1) -> None:
        if key in facts:
            start, slope = line(facts[key], what)
            grid.add(name, *(shown(start + times * slope * rows) for rows in BEYOND))

    add("extraction", "extract", "seconds", duration)
    add("the store's own work in it", "store", "seconds", duration)
    add("disk", "store", "disk_bytes", size_text)
    add("memory of extraction", "store", "write_peak_bytes", size_text)
    add(f"{EPOCHS} epochs of a Keras head", "linear", "seconds", duration, EPOCHS)
    add("ridge head, rows in memory", "ridge", "seconds", duration)
    add("memory of that", "ridge", "peak_bytes", size_text)
    return grid


def duration(seconds: float) -> str:
    """Return seconds in the unit that people would use."""
    for unit, length in (("days", DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def size_text(count: float) -> str:
    """Return bytes in GB or TB."""
    return f"{count / 1e12:,.1f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


def turning_points(facts: Mapping[str, Any]) -> list[str]:
    """Return from how many images one machine is not enough, and why."""
    lines = []
    if "extract" in facts:
        start, slope = line(facts["extract"], "seconds")
        lines.append(
            f"Extraction takes more than a day from {(DAY - start) / slope:,.0f} images on: from "
            f"there, several machines (or a GPU) save days, since shards are independent."
        )
    for name, key, what in (
        ("Extraction", "store", "write_peak_bytes"),
        ("A ridge head on rows in memory", "ridge", "peak_bytes"),
    ):
        start, slope = line(facts[key], what)
        if slope > 0:
            lines.append(
                f"{name} needs more than {MEMORY / 1e9:.0f} GB of memory from "
                f"{(MEMORY - start) / slope:,.0f} images on."
            )
    return lines


def document(record: Mapping[str, Any], origin: str) -> str:
    """Return docs/scaling.md."""
    facts = record["facts"]
    parts = [
        "# How it scales",
        "Written by `python -m benchmarks.report` from a run of `python -m benchmarks.scaling`. "
        "Nothing beyond the largest measured size was run: lines are drawn on. A backbone that is "
        "ten times as slow takes ten times as long to extract; all else stays.",
        origin,
        measured(facts).markdown(),
        slopes(facts).markdown(),
        beyond(facts).markdown(),
        "## When to go to several machines",
        "\n".join(f"- {text}" for text in turning_points(facts)),
        "Heads that are trained in epochs stream rows from the store, so that their memory does "
        "not grow; the disk has to read all rows once for each epoch.",
    ]
    return "\n\n".join(parts) + "\n"


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
    photos = options.shared and options.shared.resolve() / "data" / "cats_dogs_200px"
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
    main()
