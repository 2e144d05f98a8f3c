"""What is compared on what, and the row that a way comes to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError

TUNED_EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is compared on what."""

    data: Path
    """With train/, validation/ (or val/) and perhaps test/ over class folders."""
    backbone: str = "mobilenet_v2"
    arguments: Mapping[str, Any] = field(default_factory=lambda: {"alpha": 0.35})
    weights: str = "imagenet"
    """Or "random", or a file."""
    image_size: int = 224
    epochs: int = 10
    many_epochs: int = 50
    """Measured on features; reckoned in the graph."""
    heads: int = 20
    """How many are tried."""
    optimizer: str = "rmsprop"
    learning_rate: float = 1e-3
    plain: Sequence[str] = ()
    """Further options of `benchmarks.plain_script`."""
    unfreeze: Sequence[str] = ("20%",)
    """What (d) trains of the backbone; several are tried, and the best is kept."""
    tuned_epochs: int = TUNED_EPOCHS
    tuned_options: Sequence[str] = ()
    """Further options of `finetune run`."""
    full_options: Sequence[str] = ()
    """Further ones of (c) alone."""

    @property
    def splits(self) -> dict[str, str]:
        """Split → the name of its folder."""
        names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
        return {split: name for name, split in names.items() if (self.data / name).is_dir()}

    def check(self) -> None:
        """Raise `BenchmarkError` if images to train on, or to judge on, are missing."""
        if not {"train", "validation"} <= self.splits.keys() or not all(self.counts().values()):
            raise BenchmarkError(
                f"{self.data} has no images in train/ and validation/ over class folders. Give "
                f"--data a folder that has"
            )

    def counts(self) -> dict[str, int]:
        """Return split → its number of files."""
        return {
            split: sum(path.is_file() for path in (self.data / name).glob("*/*"))
            for split, name in self.splits.items()
        }


@dataclass(frozen=True)
class Row:
    """What a way came to; seconds are of all its processes together."""

    seconds: float
    work_seconds: float
    peak_bytes: int | None
    """Of the largest process."""
    disk_bytes: int
    images: int
    """Passes of one image through the backbone, or through what is frozen of it."""
    validation: float | None = None
    test: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, validation accuracy)."""
    epoch_seconds: float | None = None
    """The median of them."""
    epoch_range: tuple[float, float] | None = None
    """The shortest and the longest, in the graph."""
    repeats: list[float] = field(default_factory=list)
    """`seconds` of each repeat, where there are several: then `seconds` is their median."""
    training: list[float] = field(default_factory=list)
    """Training accuracy of each epoch, in the graph."""
    pace: dict[str, Any] | None = None
    """Of an extraction: `images_per_second`, `share_of_forward`, and which stage `waits`."""


def median_of(rows: Sequence[Row]) -> Row:
    """Return one row of a way's repeats: median times, the largest peak, all else of the first."""
    if len(rows) == 1:
        return rows[0]
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    return replace(
        rows[0],
        seconds=statistics.median(row.seconds for row in rows),
        work_seconds=statistics.median(row.work_seconds for row in rows),
        peak_bytes=max(peaks, default=None),
        repeats=[row.seconds for row in rows],
    )
