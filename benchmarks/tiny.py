"""A handful of pictures made on the spot, on which every benchmark runs in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

COLORS = {"blue": (200, 60, 60), "green": (60, 200, 60)}  # BGR
PER_SPLIT = {"train": 12, "validation": 6, "test": 6}


def paint(folder: Path, splits: Mapping[str, int] = PER_SPLIT, side: int = 40) -> Path:
    """Write noisy pictures, (side, side + 4), of one color each, in split over class folders."""
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for label, color in COLORS.items():
            place = folder / split / label
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                hue = np.array(color) + rng.normal(scale=40, size=3)
                picture = hue + rng.normal(scale=15, size=(side, side + 4, 3))
                path = place / f"{number:05d}.jpg"
                cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return folder
