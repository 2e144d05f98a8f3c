"""What a run costs beside its backbone: listing, planning, warm runs, memory.

    python -m benchmarks.bench_inputs --shared ../shared --files 100000 --rows 1000000

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
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import Table, machine, seconds_of
from extract.sources import list_images

PER_FOLDER = 1000
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_dequantised.h5"
WITHOUT_FRAMEWORK = (
    "import sys; sys.argv[0] = 'extract'\n"
    "from extract.cli import main\n"
    "try:\n    main()\nfinally:\n"
    "    print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
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
        "frameworks": result[1],
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    files = Table(f"listing {found['files']:,} files", "s")
    for name, seconds in found["listing"].items():
        files.add(name, seconds, digits=2)
    files.show()
    for unit, key, digits in (("MB at the peak", "peak_mb", 0), ("s", "seconds", 1)):
        table = Table("a backbone of arithmetic", unit)
        for name, facts in found["memory"].items():
            table.add(name, [facts[key]], digits=digits)
        table.show()
    table = Table("whole processes", "s")
    for name, rounds in found["processes"].items():
        extracted = ", ".join(str(r["extracted"]) for r in rounds)
        frameworks = rounds[-1]["frameworks"]
        table.add(f"{name} (extracted {extracted}; {frameworks})", [r["seconds"] for r in rounds])
    table.show()


def main(
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
    """Measure all of it; `photos` and `new` are copied first."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found: dict[str, Any] = {"machine": machine(), "files": files}
        found["listing"] = listing(make_files(folder / "files", files), repeats)
        shutil.rmtree(folder / "files")
        found["memory"] = memory(folder / "memory", few, many, rows)
        shutil.copytree(photos, folder / "photos", copy_function=shutil.copyfile)
        for path in (folder / "photos").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (folder / "photos").chmod(0o755)
        found["processes"] = processes(folder / "photos", new, options, repeats)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="folder of data and weights")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    given = parser.parse_args()
    data = given.shared / "data"
    results = main(
        data / "cats_dogs_200px",
        next(iter(sorted((data / "hymenoptera").rglob("*.jpg")))),
        ["--weights", str(given.shared / WEIGHTS)],
        files=given.files,
        rows=given.rows,
        repeats=given.repeats,
    )
    show(results)
    if given.json:
        print(json.dumps(results))
