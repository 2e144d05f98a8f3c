"""A labelled store made in a moment: features are means of pixels, so classes are colors."""

import csv
import shutil

import cv2
import numpy as np
import pytest

import extract
from extract.relabeling import relabel
from extract.store.opening import open_store
from heads.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
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


def relabelled(store, label_of):
    """Give every item of a store another label, a function of its row."""
    table = store.with_name("labels.csv")
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for row in open_store(store).items.to_pylist():
            writer.writerow([row["path"], label_of(row)])
    relabel(store, table)
    return store


@pytest.fixture
def browser():
    """Headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def opened(browser, path):
    """Open a page; anything that it says on the console, or asks the network for, is an error."""
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda r: said.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
    )
    page.goto(path.as_uri())
    return page, said


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
