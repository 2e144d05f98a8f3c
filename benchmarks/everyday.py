"""What happens after the first run: the script that people write, and ours, day by day.

    python -m benchmarks.everyday --shared ../shared --out benchmarks/results

`benchmarks.fifteen_lines` beside `extract run` and `heads fit`, MobileNetV2 0.35 at 224 pixels,
each as whole processes, once:

- first       from nothing but a converted backbone
- second      nothing has changed
- one new     one image more
- killed      stopped after half of the first time, and typed again: the second time counts

And what both make of hymenoptera (photographs as found) and awkward (files that break readers):
how many images got features, and how the command ended. Our split folders may be called val; the
script is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import processes, results
from benchmarks.processes import BenchmarkError
from benchmarks.tables import Grid
from benchmarks.tiny import paint
from benchmarks.ways import SCRIPTS, Setup, inside
from extract.backbones import entry

CASES = {
    "first": "first run",
    "second": "second run, nothing new",
    "one new": "one new image",
    "killed": "after a kill at half",
}


class Day:
    """Both ways on a copy of a folder, in one scratch folder."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup, self._folder = setup, folder
        self._photos = folder / "photos"
        shutil.copytree(setup.data, self._photos, copy_function=shutil.copyfile)
        for path in (self._photos, *self._photos.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def script(self) -> list[list[str]]:
        """Return the commands of the script: one."""
        setup = self._setup
        weights = None if setup.weights == "random" else setup.weights
        options = json.dumps({**setup.arguments, "weights": weights})
        name, size = entry(setup.backbone).class_name, str(setup.image_size)
        script = str(SCRIPTS / "fifteen_lines.py")
        return [[script, str(self._photos), name, size, options, *setup.splits.values()]]

    def ours(self, store: str = "photos") -> list[list[str]]:
        """Return our two commands."""
        setup, place = self._setup, self._folder / f"{store}.features"
        arguments = [f"--backbone-arg={key}={value}" for key, value in setup.arguments.items()]
        words = ["extract", "run", self._photos, "--store", place, "--backbone", setup.backbone]
        words += ["--weights", setup.weights, "--image-size", setup.image_size, *arguments]
        return [["-m", *map(str, words), "--json"], ["-m", "heads", "fit", str(place), "--json"]]

    def seconds(self, commands: Sequence[Sequence[str]]) -> float:
        """Run commands one after the other; return their wall time together."""
        with inside(self._folder):
            return sum(processes.run(words).seconds for words in commands)

    def kill(self, commands: Sequence[Sequence[str]], after: float) -> None:
        """Begin, and kill without a warning what runs after some seconds."""
        end = time.monotonic() + after
        for words in commands:
            child = subprocess.Popen(
                [sys.executable, *words],
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return

    def add_one(self) -> None:
        """Add an image: the first one with other bytes after its end."""
        path = next(path for path in sorted(self._photos.rglob("*.jpg")))
        path.with_name("new.jpg").write_bytes(path.read_bytes() + b"new")


def days(setup: Setup) -> dict[str, dict[str, float]]:
    """Return case → way → seconds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        day = Day(setup, Path(folder))
        day.seconds(day.ours("warm"))  # converts the backbone
        found: dict[str, dict[str, float]] = {}
        for case in ("first", "second"):
            found[case] = {"script": day.seconds(day.script()), "ours": day.seconds(day.ours())}
        day.kill(day.script(), found["first"]["script"] / 2)
        day.kill(day.ours("killed"), found["first"]["ours"] / 2)
        killed = {"script": day.seconds(day.script()), "ours": day.seconds(day.ours("killed"))}
        day.add_one()
        found["one new"] = {"script": day.seconds(day.script()), "ours": day.seconds(day.ours())}
        return found | {"killed": killed}


def photographs(setup: Setup) -> dict[str, dict[str, Any]]:
    """Return way → how many images got features, and how it ended."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        day, place = Day(setup, Path(folder)), Path(folder)
        files = sum(path.is_file() for path in setup.data.rglob("*"))
        found: dict[str, dict[str, Any]] = {}
        try:
            day.seconds(day.script())
            found["script"] = {"ended": "done"}
        except BenchmarkError as error:
            found["script"] = {"ended": str(error).rpartition("ended with ")[2][:160]}
        found["script"]["images"] = _rows(place)
        done = processes.run([*day.ours()[0], "--max-bad", "100%"])
        good = done.facts["items"] - done.facts["bad"]
        found["ours"] = {"ended": f"done, {done.facts['bad']} bad and listed", "images": good}
        return found | {"files": {"images": files, "ended": ""}}


def _rows(place: Path) -> int:
    """Return how many rows of features lie in the .npy files of a folder."""
    import numpy as np

    return sum(len(np.load(path, mmap_mode="r")) for path in place.glob("*.npy"))


def in_splits(flat: Path, folder: Path) -> Path:
    """Copy files into train/ and validation/ over two class folders, as the script wants them."""
    for number, path in enumerate(sorted(p for p in flat.iterdir() if p.is_file())):
        split, label = ("train", "validation")[number % 4 > 1], "ab"[number % 2]
        place = folder / split / label
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / path.name)
    return folder


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return seconds of each case, and what became of the photographs."""
    grid = Grid(
        f"{facts['data']}, whole processes, seconds", ("", "script of 15 lines", "extract + heads")
    )
    for case, text in CASES.items():
        found = facts["days"][case]
        grid.add(text, f"{found['script']:.1f}", f"{found['ours']:.1f}")
    photos = Grid("Images with features", ("", "files", "script of 15 lines", "extract"))
    for name, found in facts["photographs"].items():
        cells = [f"{found[way]['images']:,}; {found[way]['ended']}" for way in ("script", "ours")]
        photos.add(name, f"{found['files']['images']:,}", *cells)
    return [grid, photos]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each case."""
    lines = [
        f"{text}: {facts['days'][case]['ours']:.1f} s, the script of 15 lines "
        f"{facts['days'][case]['script']:.1f} s"
        for case, text in CASES.items()
    ]
    for name, found in facts["photographs"].items():
        script, ours = found["script"], found["ours"]
        lines.append(
            f"{name}, {found['files']['images']} files: features of {ours['images']} "
            f"({ours['ended']}); the script: of {script['images']} ({script['ended']})"
        )
    return lines


def measure(setup: Setup, photos: Mapping[str, Setup]) -> dict[str, Any]:
    """Measure; return JSON values."""
    return {
        "data": setup.data.name,
        "days": days(setup),
        "photographs": {name: photographs(one) for name, one in photos.items()},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--data", default="cats_dogs_200px", help="a folder in data/ of --shared")
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    options, before = parser.parse_args(words), results.load_average()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["HEADSTART_CACHE"] = f"{folder}/cache"
        if options.tiny:
            setup = tiny(paint(Path(folder) / "tiny"))
            facts = measure(setup, {"tiny": setup})
        else:
            data = options.shared.resolve() / "data"
            awkward = in_splits(data / "awkward", Path(folder) / "awkward")
            photos = {"hymenoptera": data / "hymenoptera", "awkward": awkward}
            setups = {name: Setup(data=place) for name, place in photos.items()}
            facts = measure(Setup(data=data / options.data), setups)
    for grid in tables(facts):
        grid.show()
    for text in verdict(facts):
        print(text, file=sys.stderr)
    if options.out is not None:
        name = "everyday-tiny" if options.tiny else f"everyday-{facts['data']}"
        print(results.save(options.out, name, facts, before))


def tiny(data: Path) -> Setup:
    """Return a setup of seconds."""
    return Setup(
        data=data, backbone="mobilenet", arguments={"alpha": 0.25}, weights="random", image_size=32
    )


if __name__ == "__main__":
    main()
