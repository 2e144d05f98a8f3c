"""Where augmentation of features helps, and where it does not.

    python -m benchmarks.bench_heads --shared ../shared --only augment

Data: the photographs of beans_256px and hymenoptera, MobileNetV2 (alpha .35) at 128 pixels, last
map unpooled (3 x 3 x 1280) and pooled. `LinearHead`, 40 epochs without early stopping, on 5 and on
20 images per class, drawn `draws` times. A line is an augmentation; a number is by how much the
mean accuracy on validation rows differs from that of the same draws without it, and the half
width of its 95 % interval (Student's t over the draws). Strengths are fixed, not tuned: tuning each
on the rows that judge would make all of them look good.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import extract
from benchmarks.command_line import photographs_of
from benchmarks.tables import Grid

FOLDERS = ("beans_256px", "hymenoptera")
WORDS = (
    *("noise:0.5", "mixup:0.2", "brightness:0.2", "contrast:0.5", "posterize:5"),
    "brightness:0.2+mixup:0.2",
)
SHOTS = (5, 20)
EPOCHS = 40


def measure(
    shared: Path, draws: int = 5, folders: Sequence[str] = FOLDERS, shots: Sequence[int] = SHOTS
) -> dict[str, Any]:
    """Return, for each data set, column and number of images: gains and their half widths."""
    found: dict[str, Any] = {}
    for name in folders:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            store = Path(folder) / "photos.features"
            extract.run(
                photographs_of(shared, name),
                store,
                arguments={"alpha": 0.35},
                image_size=128,
                layers=["out_relu:none", "out_relu:avg"],
            )
            snapshot = extract.open_store(store)
            for column in ("out_relu:none", "out_relu:avg"):
                train, judge = (snapshot.load(s, column) for s in ("train", "validation"))
                for k in shots:
                    found[f"{name}, {column}, {k} per class"] = gains(train, judge, k, draws)
    return found


def gains(train: Any, judge: Any, k: int, draws: int) -> dict[str, Any]:
    """Return word → [gain, half width], and the accuracy without augmentation."""
    from scipy.stats import t

    from heads.learning_curve import draw_rows

    shape = train.X.shape[1:]
    channels = shape[-1] if len(shape) > 1 else 0
    X, X_judge = (d.X.reshape(len(d.X), -1) for d in (train, judge))
    accuracy: dict[str, list[float]] = {word: [] for word in ("none", *WORDS)}
    for seed, rows in enumerate(draw_rows(train.y, k, draws, seed=0)):
        for word, values in accuracy.items():
            head = _head(word, seed).fit(X[rows], train.y[rows], channels=channels)
            values.append(float(np.mean(head.predict(X_judge) == judge.y)))
    factor = t.ppf(0.975, draws - 1) / draws**0.5
    base = np.array(accuracy.pop("none"))
    apart = {word: np.array(values) - base for word, values in accuracy.items()}
    return {"none": float(base.mean())} | {
        word: [float(d.mean()), float(factor * d.std(ddof=1))] for word, d in apart.items()
    }


def _head(word: str, seed: int) -> Any:
    from heads.neural import LinearHead

    augment = None if word == "none" else word.split("+")
    return LinearHead(epochs=EPOCHS, batch_size=32, augment=augment, random_state=seed)


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return gains in accuracy and half widths of their intervals, an augmentation to a column."""
    grid = Grid(
        "Accuracy on validation rows without augmentation, and what each adds to it",
        ("photographs, features, images", "without", *WORDS),
    )
    for name, found in facts.items():
        gains = [f"{found[word][0]:+.3f} ± {found[word][1]:.3f}" for word in WORDS]
        grid.add(name, f"{found['none']:.3f}", *gains)
    return [grid]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return, for each augmentation, where its interval is above 0, and where it is below."""
    lines = []
    for word in WORDS:
        better = [n for n, found in facts.items() if found[word][0] > found[word][1]]
        worse = [n for n, found in facts.items() if found[word][0] < -found[word][1]]
        said = [f"{how} {'; '.join(w)}" for how, w in (("helped:", better), ("hurt:", worse)) if w]
        lines.append(f"{word} {', '.join(said) or 'neither helped nor hurt beyond its interval'}")
    return lines
