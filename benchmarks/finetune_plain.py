"""Full mode beside the script of the guides, which decodes every image in every epoch.

Small photographs cost nearly nothing to decode, and the figure says whether the rest of full mode
is no slower. Photographs of a camera's size are where decoding once counts.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

FIRST_OF_BLOCK_12 = 108


def measure_plain(
    store: Path,
    photos: Path,
    rounds: int = 2,
    epochs: int = 3,
    unfreeze: str = f"from:{FIRST_OF_BLOCK_12}",
    words: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return seconds of epochs of the guides' script and of full mode, all augmenting, by turns.

    Args:
        store: Of `photos`, with its head beside it.
        photos: Has train/ over class folders.
        rounds: Each runs the script, the script with BatchNormalization frozen, and full mode.
        epochs: Of each run; the first, which traces, is left out where there are more.
        unfreeze: What full mode trains.
        words: Further words for the script.
    """
    import finetune

    given = [str(photos), "--from", str(FIRST_OF_BLOCK_12), "--epochs", str(epochs), "--augment"]
    options: dict[str, Any] = {"unfreeze": unfreeze, "mode": "full", "augment": "flip,rotation=0.1"}
    out = store.with_name("plain.tuned")
    spent: dict[str, list[float]] = {"plain": [], "frozen": [], "full": []}
    decoding = []
    for _ in range(rounds):
        spent["plain"] += _steady(_script([*given, *words]))
        spent["frozen"] += _steady(_script([*given, "--freeze-statistics", *words]))
        decoding.append(finetune.run(store, out=out, epochs=epochs, **options).decoding_seconds)
        spent["full"] += _steady(_seconds_of(out))
    return {
        "photos": photos.name,
        "full_decoding": statistics.median(decoding),
        **{f"{way}_epoch": statistics.median(seconds) for way, seconds in spent.items()},
        **{f"{way}_epochs": seconds for way, seconds in spent.items()},
    }


def _steady(seconds: list[float]) -> list[float]:
    return seconds[1:] or seconds


def _script(words: list[str]) -> list[float]:
    """Return the seconds of the epochs of the guides' script."""
    script = Path(__file__).with_name("plain_finetune.py")
    done = subprocess.run(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])["epoch_seconds"]


def _seconds_of(model: Path) -> list[float]:
    """Return the seconds of the epochs of a fine-tuned model."""
    with (model / "history.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file) if row["stage"] == "finetune"]


def enlarge(photos: Path, folder: Path, times: int) -> Path:
    """Write photographs again, so many times as wide and as high, as JPEG; returns their folder."""
    import cv2

    target = folder / f"{photos.name}-x{times}"
    for path in sorted(photos.rglob("*.jpg")):
        place = target / path.relative_to(photos)
        if (picture := cv2.imread(str(path))) is not None and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            larger = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place), larger)
    return target
