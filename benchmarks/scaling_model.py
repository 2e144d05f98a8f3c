"""What measured sizes imply: lines, sizes that nobody ran, and when one machine is not enough.

The model is a + b x, with a and b not negative and least squares of relative errors. What lies
beyond the largest size is reckoned, and was not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.tables import Grid

BEYOND = (10**6, 10**8, 10**9)
DAY = 86_400.0
MEMORY = 64e9
"""Bytes of a large desktop machine."""
EPOCHS = 30


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
    ("memory of extraction", "extract", "peak_bytes", "bytes", "images"),
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
                f"{int(size):,} {text.removesuffix('s') if size == '1' else text}",
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
    add("memory of extraction", *_memory(facts), size_text)
    add(f"{EPOCHS} epochs of a Keras head", "linear", "seconds", duration, EPOCHS)
    add("ridge head, rows in memory", "ridge", "seconds", duration)
    add("memory of that", "ridge", "peak_bytes", size_text)
    return grid


def _memory(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return what tells the memory of extraction: photographs where some ran, else noise."""
    return ("extract", "peak_bytes") if "extract" in facts else ("store", "write_peak_bytes")


def about(count: float) -> str:
    """Return a number that is reckoned, to two places."""
    return f"about {float(f'{count:.1e}'):,.0f}"


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
            f"Extraction takes more than a day from {about((DAY - start) / slope)} images on: from "
            f"there, several machines (or a GPU) save days, since shards are independent."
        )
    for name, key, what in (
        ("Extraction", *_memory(facts)),
        ("A ridge head on rows in memory", "ridge", "peak_bytes"),
    ):
        start, slope = line(facts[key], what)
        if slope > 0:
            lines.append(
                f"{name} needs more than {MEMORY / 1e9:.0f} GB of memory from "
                f"{about((MEMORY - start) / slope)} images on."
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
