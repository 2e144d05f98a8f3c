"""A labelled store made in a moment: features are means of pixels, so classes are colors."""

import csv

import cv2
import numpy as np
import pytest

import extract
from extract.store.reader import open_store
from heads.cli import main

COLORS = {"blue": (200, 60, 60), "green": (60, 200, 60), "red": (60, 60, 200)}  # BGR
PER_SPLIT = {"train": 12, "validation": 6, "test": 6}


def paint(folder, splits=PER_SPLIT, colors=COLORS, seed=0):
    """Write noisy pictures of one color each, in split folders over class folders."""
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        for label, color in colors.items():
            place = folder / split / label
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture = (
                    np.array(color)
                    + rng.normal(scale=50, size=3)
                    + rng.normal(scale=15, size=(16, 20, 3))
                )
                cv2.imwrite(str(place / f"{number}.png"), np.clip(picture, 0, 255).astype("u1"))
    return folder


def tabulate(images, table, **columns):
    """Write a table of painted pictures: path, split, and columns of what each color is called."""
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", *columns])
        for path in sorted(images.rglob("*.png")):
            split, color, name = path.relative_to(images).parts
            cells = [names[color] for names in columns.values()]
            writer.writerow([f"{split}/{color}/{name}", split, *cells])
    return table


@pytest.fixture
def painted(tmp_path, fake_backbone):
    """Path of a store with three classes in three splits; the images lie beside it."""
    images = paint(tmp_path / "photos")
    extract.run(images, tmp_path / "photos.features", layers=["last", "3"])
    return tmp_path / "photos.features"


@pytest.fixture
def snapshot(painted):
    """The store, opened."""
    return open_store(painted)


@pytest.fixture
def cli(monkeypatch, capsys):
    """A function that runs a command line and returns (status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["heads", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
