"""What a run costs beside its backbone: listing, planning, warm runs, memory.

    python -m benchmarks.bench_inputs --shared ../shared --files 100000 --rows 1000000 --out results
    python -m benchmarks.bench_inputs --tiny

- listing    `list_images` of a folder of small files, beside `os.walk` with a look at each file
- memory     a first run of few and of many items, and of `--rows` images in memory, with a backbone
             of arithmetic (`benchmarks.synthetic`), each in a process of its own; and planning them
- processes  whole `python -m extract run` of real photographs with MobileNetV2: nothing new, one
             new image, every file renamed; with what was extracted

A cell is median [min, max] over the repeats; the page cache is warm. It measures neither the disk
nor the network, and rows are 8 numbers wide: wider ones cost bytes of shards, not memory per image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.bench_extract import WEIGHTS
from benchmarks.command_line import in_one_line, photographs_of, positive
from benchmarks.goals import at_most, below
from benchmarks.tables import Grid, spread, told
from benchmarks.timing import scratch, seconds_of
from benchmarks.tiny import paint
from extract.sources import list_images

PER_FOLDER = 1000
GOALS = {"listing": 3.0, "memory": 100.0, "rows": 2000.0, "plan": 60.0}
"""Seconds, MB, MB, seconds."""
WITHOUT_FRAMEWORK = (
    "import json, sys; sys.argv[0] = 'extract'\n"
    "from extract.cli import main\n"
    "try:\n    main()\nfinally:\n"
    "    print(json.dumps(sorted({'keras', 'tensorflow'} & set(sys.modules))))"
)


def make_files(folder: Path, count: int) -> Path:
    """Write small different files into folders of 1000."""
    for number in range(count):
        place = folder / f"class{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:08d}.jpg").write_bytes(b"x%d" % number)
    return folder


def walk(folder: Path) -> int:
    """Look at every file of a folder, as plainly as Python can."""
    return sum(
        os.stat(os.path.join(place, name)).st_size > 0
        for place, _, names in os.walk(folder)
        for name in names
    )


def listing(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Time both ways, in turn, after one of each."""
    walk(folder), list_images(folder)
    rounds = [
        (seconds_of(lambda: list_images(folder)), seconds_of(lambda: walk(folder)))
        for _ in range(repeats)
    ]
    return {"ours": [ours for ours, _ in rounds], "os_walk": [plain for _, plain in rounds]}


def synthetic(what: str, source: object, store: Path) -> dict[str, float]:
    """Run `benchmarks.synthetic` in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.synthetic", what, str(source), str(store)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def memory(folder: Path, few: int, many: int, rows: int) -> dict[str, dict[str, float]]:
    """Run and plan on files and on rows in memory."""
    small, large = (make_files(folder / f"{n}", n) for n in (few, many))
    found = {
        f"first run of {few} files": synthetic("run", small, folder / "few.features"),
        f"first run of {many} files": synthetic("run", large, folder / "many.features"),
        f"again, of {many} files": synthetic("run", large, folder / "many.features"),
        f"plan of {many} known files": synthetic("plan", large, folder / "many.features"),
        f"plan of {rows} new rows": synthetic("plan", rows, folder / "rows.features"),
        f"first run of {rows} rows": synthetic("run", rows, folder / "rows.features"),
        f"plan of {rows} rows again": synthetic("plan", rows, folder / "rows.features"),
        f"again, of {rows} rows": synthetic("run", rows, folder / "rows.features"),
    }
    shutil.rmtree(folder)
    return found


def processes(photos: Path, new: Path, options: list[str], repeats: int) -> dict[str, Any]:
    """Time whole processes of `run`: nothing new, one new image, every file renamed.

    Args:
        photos: A folder of photographs, which is changed.
        new: An image that is not among them.
        options: Of `run`.
        repeats: Rounds of each.
    """
    store = photos.with_name(f"{photos.name}.features")
    found: dict[str, Any] = {"first": [_process(photos, store, options)]}
    for name in ("nothing new", "one new", "all renamed"):
        found[name] = []
    for number in range(repeats):
        found["nothing new"].append(_process(photos, store, options))
        place = next(path for path in sorted(photos.rglob("*")) if path.is_file()).parent
        (place / f"new{number}.jpg").write_bytes(new.read_bytes() + bytes(number + 1))
        found["one new"].append(_process(photos, store, options))
        for path in sorted(photos.rglob("*.*")):
            path.rename(path.with_name(f"r{path.name}"))
        found["all renamed"].append(_process(photos, store, options))
    return found


def _process(photos: Path, store: Path, options: list[str]) -> dict[str, Any]:
    words = [sys.executable, "-c", WITHOUT_FRAMEWORK, "run", str(photos), "--store", str(store)]
    result: list[str] = []

    def run() -> None:
        done = subprocess.run(
            [*words, "--json", *options], capture_output=True, text=True, check=True
        )
        result.extend(done.stdout.splitlines()[-2:])

    seconds = seconds_of(run)
    return {
        "seconds": seconds,
        "extracted": json.loads(result[0])["extracted"],
        "frameworks": json.loads(result[1]),
    }


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return seconds of listing, memory and time of synthetic runs, and whole processes."""
    columns = ("", "median", "least", "most")
    files = Grid(f"Listing {facts['files']:,} files: seconds", columns)
    for name, seconds in facts["listing"].items():
        files.add(name, *spread(seconds, 2))
    grown = Grid("A backbone of arithmetic, once", ("", "MB, peak", "s"))
    for name, found in facts["memory"].items():
        grown.add(name, f"{found['peak_mb']:,.0f}", f"{found['seconds']:.1f}")
    whole = Grid(f"Whole processes on {facts['data']}: seconds", (*columns, "extracted"))
    for name, rounds in facts["processes"].items():
        extracted = ", ".join(str(found["extracted"]) for found in rounds)
        whole.add(name, *spread([found["seconds"] for found in rounds], 2), extracted)
    return [files, grown, whole]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    memory, done = facts["memory"], facts["processes"]
    few, many, rows = (facts[name] for name in ("few", "many", "rows"))
    more = (
        memory[f"first run of {many} files"]["peak_mb"]
        - memory[f"first run of {few} files"]["peak_mb"]
    )
    planned = max(f["seconds"] for name, f in memory.items() if name.startswith("plan of"))
    peak = max(f["peak_mb"] for name, f in memory.items() if f"{rows} " in name)
    images = done["first"][0]["extracted"]
    lines = [
        f"listing {facts['files']:,} files: {told(facts['listing']['ours'], 2)} "
        f"{at_most(statistics.median(facts['listing']['ours']), GOALS['listing'])}, os.walk "
        f"{told(facts['listing']['os_walk'], 2)}",
        f"{many:,} items take {more:,.0f} MB more than {few:,} {below(more, GOALS['memory'])}",
        f"{rows:,} rows: at most {peak:,.0f} MB {below(peak, GOALS['rows'], ',.0f')}, planned in "
        f"at most {planned:.1f} s {at_most(planned, GOALS['plan'])}",
    ]
    for name, goal in (("nothing new", 3), ("one new", 5), ("all renamed", None)):
        seconds = [found["seconds"] for found in done[name]]
        frameworks = {word for found in done[name] for word in found["frameworks"]}
        lines.append(
            f"{images:,} images, {name}: {told(seconds, 2)}"
            + ("" if goal is None else f" {at_most(statistics.median(seconds), goal)}")
            + f", {max(found['extracted'] for found in done[name])} extracted, "
            + (" and ".join(sorted(frameworks)) or "no framework")
            + " imported"
        )
    return lines


def measure(
    photos: Path,
    new: Path,
    options: list[str],
    *,
    files: int = 100_000,
    few: int = 3000,
    many: int = 30_000,
    rows: int = 1_000_000,
    repeats: int = 3,
) -> dict[str, Any]:
    """Measure all of it; return JSON values. `photos` and `new` are copied first."""
    with scratch() as folder:
        found: dict[str, Any] = {"data": photos.name, "files": files}
        found |= {"few": few, "many": many, "rows": rows}
        found["listing"] = listing(make_files(folder / "files", files), repeats)
        shutil.rmtree(folder / "files")
        found["memory"] = memory(folder / "memory", few, many, rows)
        shutil.copytree(photos, folder / "photos", copy_function=shutil.copyfile)
        for path in (folder / "photos").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (folder / "photos").chmod(0o755)
        found["processes"] = processes(folder / "photos", new, options, repeats)
    return found


def tiny() -> dict[str, Any]:
    """Measure a few files of each kind."""
    with scratch() as folder:
        photos, other = paint(folder / "tiny"), paint(folder / "new", {"train": 1}, side=30)
        sizes = {"files": 20, "few": 3, "many": 30, "rows": 600, "repeats": 1}
        new = next(other.rglob("*.jpg"))
        return measure(photos, new, ["--backbone", "digits"], **sizes)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="data and weights")
    parser.add_argument("--files", type=positive, default=100_000)
    parser.add_argument("--rows", type=positive, default=1_000_000)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--out", type=Path, help="folder of the JSON; else it is printed")
    parser.add_argument("--tiny", action="store_true", help="a few files of each kind")
    given, before = parser.parse_args(words), results.load_average()
    if given.tiny:
        facts = tiny()
    else:
        facts = measure(
            photographs_of(given.shared, "cats_dogs_200px"),
            min(photographs_of(given.shared, "hymenoptera").rglob("*.jpg")),
            ["--weights", str((given.shared / WEIGHTS).resolve())],
            files=given.files,
            rows=given.rows,
            repeats=given.repeats,
        )
    for grid in tables(facts):
        grid.show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    results.deliver(given.out, "bench_inputs-tiny" if given.tiny else "bench_inputs", facts, before)


if __name__ == "__main__":
    in_one_line(main)
