"""What happens after the first run: the script that people write, and ours, day by day.

    python -m benchmarks.everyday --shared ../shared --out benchmarks/results

`benchmarks.fifteen_lines` beside `extract run` and `heads fit`, MobileNetV2 0.35 at 224 pixels,
each as whole processes:

- first       from nothing but a converted backbone
- second      nothing has changed
- one new     one image more
- killed      stopped after half of the first time, and typed again: the second time counts

The days in the middle are gone through --repeats times, both ways in turn, and told as median and
range; the first run and the killed one once: the short script does all of its work in every run.

And what both make of hymenoptera (photographs as found) and awkward (files that break readers):
how many images got features, and how the command ended. Our split folders may be called val; the
script is told.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import processes, results
from benchmarks.command_line import in_one_line, photographs_of, positive
from benchmarks.processes import BenchmarkError
from benchmarks.tables import Grid, told
from benchmarks.tiny import paint
from benchmarks.ways import SCRIPTS, Setup, inside
from extract.backbones import entry

CASES = {
    "first": "first run, the backbone converted",
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

    def add_one(self, number: int) -> None:
        """Add an image: the first one with other bytes after its end."""
        path = next(path for path in sorted(self._photos.rglob("*.jpg")))
        new = path.with_name(f"new{number}.jpg")
        new.write_bytes(path.read_bytes() + b"new%d" % number)


def days(setup: Setup, repeats: int = 1) -> dict[str, dict[str, list[float]]]:
    """Return case → way → seconds of each repeat."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        day = Day(setup, Path(folder))
        day.seconds(day.ours("warm"))  # converts the backbone

        def note(case: str, store: str = "photos") -> None:
            times = found.setdefault(case, {"script": [], "ours": []})
            times["script"].append(day.seconds(day.script()))
            times["ours"].append(day.seconds(day.ours(store)))

        note("first")
        for _ in range(repeats):
            note("second")
        day.kill(day.script(), found["first"]["script"][0] / 2)
        day.kill(day.ours("killed"), found["first"]["ours"][0] / 2)
        note("killed", "killed")
        for number in range(repeats):
            day.add_one(number)
            note("one new")
    return found


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
        items, bad = done.facts["items"], done.facts["bad"]
        passed = f", {files - items} no picture by its name" * (files > items)
        found["ours"] = {"ended": f"done, {bad} bad and listed{passed}", "images": items - bad}
        if found["script"]["images"] == items - bad:
            apart = _apart(place, list(setup.splits.values()), Path(done.facts["store"]))
            found["script"]["ended"] += f", {apart} of them more than 1 % from ours"
        return found | {"files": {"images": files, "ended": ""}}


def _apart(place: Path, splits: Sequence[str], store: Path) -> int:
    """Return how many images have features in the .npy files that differ by more than 1 %.

    Of a feature's norm. The script's rows are sorted by path within each split, as Keras lists
    folders; TensorFlow decodes JPEG with a coarser transform, and does not turn pictures as their
    EXIF tag says.
    """
    import numpy as np

    import extract

    ours = extract.open_store(store).load(None)
    paths = ours.items["path"].to_pylist()
    order = [
        at for split in splits for at, path in enumerate(paths) if path.startswith(f"{split}/")
    ]
    theirs = np.concatenate([np.load(place / f"{split}.npy") for split in splits])
    found = ours.X[order]
    distance = np.linalg.norm(theirs - found, axis=1) / np.linalg.norm(found, axis=1)
    return int(np.count_nonzero(distance > 0.01))


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


def several(seconds: float | list[float]) -> list[float]:
    """Return seconds of repeats; a record of before there were any has one number."""
    return seconds if isinstance(seconds, list) else [seconds]


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return seconds of each case, and what became of the photographs."""
    grid = Grid(
        f"{facts['data']}, whole processes, seconds", ("", "script of 15 lines", "extract + heads")
    )
    for case, text in CASES.items():
        found = facts["days"][case]
        grid.add(text, *(told(several(found[way]), unit="") for way in ("script", "ours")))
    photos = Grid("Images with features", ("", "files", "script of 15 lines", "extract"))
    for name, found in facts["photographs"].items():
        cells = [f"{found[way]['images']:,}; {_end(found[way])}" for way in ("script", "ours")]
        photos.add(name, f"{found['files']['images']:,}", *cells)
    return [grid, photos]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each case."""
    lines = [
        f"{text}: {told(several(facts['days'][case]['ours']))}, the script of 15 lines "
        f"{told(several(facts['days'][case]['script']))}"
        for case, text in CASES.items()
    ]
    for name, found in facts["photographs"].items():
        script, ours = found["script"], found["ours"]
        lines.append(
            f"{name}, {found['files']['images']} files: features of {ours['images']} "
            f"({_end(ours)}); the script: of {script['images']} ({_end(script)})"
        )
    return lines


def _end(found: Mapping[str, Any]) -> str:
    """Return how a way ended, an error by its own name and without the graph's."""
    text, braces, _ = found["ended"].partition(": {{")
    return re.sub(r"\b[\w.]+\.(\w+Error)", r"\1", text) if braces else text


def measure(setup: Setup, photos: Mapping[str, Setup], repeats: int = 1) -> dict[str, Any]:
    """Measure; return JSON values."""
    setup.check()
    return {
        "data": setup.data.name,
        "days": days(setup, repeats),
        "photographs": {name: photographs(one) for name, one in photos.items()},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--data", default="cats_dogs_200px", help="a folder in data/ of --shared")
    parser.add_argument("--repeats", type=positive, default=3, help="of second runs and new images")
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    options, before = parser.parse_args(words), results.load_average()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["HEADSTART_CACHE"] = f"{folder}/cache"
        if options.tiny:
            setup = tiny(paint(Path(folder) / "tiny"))
            facts = measure(setup, {"tiny": setup}, options.repeats)
        else:
            shared = options.shared.resolve()
            setup = Setup(data=photographs_of(shared, options.data))
            awkward = in_splits(photographs_of(shared, "awkward"), Path(folder) / "awkward")
            photos = {"hymenoptera": photographs_of(shared, "hymenoptera"), "awkward": awkward}
            setups = {name: Setup(data=place) for name, place in photos.items()}
            facts = measure(setup, setups, options.repeats)
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
    in_one_line(main)
