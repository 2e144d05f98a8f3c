"""Heads at the size of ImageNet: 1.28 million rows of 2048 float16 features, 1000 classes.

    python -m benchmarks.imagenet_size [--share 0.05] [--out RESULTS]

Data: class means and noise, seed 0, float16, written once to a file that is then streamed in
blocks of 4096 rows (5.2 GB for all rows; rows repeat every 65,536). 50,000 rows
more choose. Each part is a process of its own, so that its peak is its own.

- ridge    `RidgeHead.fit_blocks` with 20 penalties, chosen on the held-out rows
- stream   one pass of `StreamHead`, batches of 1024

With `--share` below 1 training and held-out rows are that part of them, and the seconds for all
are reckoned: passes over rows take as much longer as there are more; the decomposition is measured
as it is. `processor` are seconds of the cores, of imports too: `quiet`, half of what is reckoned
from them, is what two cores would take that nobody else uses. Peak memory is the process's largest
resident set. Not measured: a store's checksums.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.command_line import in_one_line
from benchmarks.goals import at_most, below
from benchmarks.tables import Grid
from benchmarks.timing import machine

ROWS, WIDTH, CLASSES, JUDGES = 1_280_000, 2048, 1000, 50_000
BLOCK, PERIOD = 4096, 65_536
PENALTIES = 20
CORES = 2
GOAL_SECONDS, GOAL_BYTES = 300.0, 3e9
HEADS = {"ridge": f"ridge, {PENALTIES} penalties", "stream": "linear, one pass"}


def write(path: Path, rows: int, width: int, classes: int) -> None:
    """Write (rows, width) float16; row i is of class i mod classes."""
    random = np.random.default_rng(0)
    means = random.normal(size=(classes, width)).astype(np.float32) * 0.25
    period = min(PERIOD // classes * classes or classes, rows)
    codes = np.arange(period) % classes
    noise = random.normal(size=(period, width)).astype(np.float32)
    part = np.maximum(means[codes] + noise, 0).astype(np.float16)
    with open(path, "wb") as file:
        for start in range(0, rows, period):
            file.write(part[: rows - start].tobytes())


def blocks(path: Path, width: int, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield X (m, width) float32 and codes (m,)."""
    row = 2 * width
    rows = path.stat().st_size // row
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        X = np.fromfile(path, np.float16, count * width, offset=start * row).reshape(count, width)
        yield X.astype(np.float32), np.arange(start, start + count) % classes


def part(name: str, folder: Path, width: int, classes: int) -> dict[str, Any]:
    """Train one head in this process; return seconds, peak in bytes, and accuracy."""
    from heads import ridge
    from heads.streaming import StreamHead

    def train() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return blocks(folder / "train", width, classes)

    def judges() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return blocks(folder / "judges", width, classes)

    start = time.perf_counter()
    passes: list[tuple[float, float]] = []
    if name == "ridge":
        timed = ((ridge.Moments, "of"), (ridge, "_score"))
        for place, function in timed:
            setattr(place, function, _timed(getattr(place, function), passes))
        head: Any = ridge.RidgeHead(PENALTIES).fit_blocks(train, judges)
        accuracy = float(head.scores_.max())
    else:
        head = StreamHead(batch_size=1024)
        for X, y in train():
            head.partial_fit(X, y, np.arange(classes))
        passes.append((time.perf_counter() - start, time.process_time()))
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    if name == "stream":
        accuracy = float(np.mean([np.mean(head.predict(X) == y) for X, y in judges()]))
    return {
        "seconds": seconds,
        "passes": sum(wall for wall, _ in passes),
        "passes_processor": sum(processor for _, processor in passes),
        "processor": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
        "accuracy": accuracy,
    }


def _timed(function: Callable[..., Any], seconds: list[tuple[float, float]]) -> Callable[..., Any]:
    def call(*given: Any, **options: Any) -> Any:
        start, used = time.perf_counter(), time.process_time()
        try:
            return function(*given, **options)
        finally:
            seconds.append((time.perf_counter() - start, time.process_time() - used))

    return call


def measure(
    share: float = 0.05,
    rows: int = ROWS,
    width: int = WIDTH,
    classes: int = CLASSES,
    judges: int = JUDGES,
) -> dict[str, Any]:
    """Measure both heads on a share of the rows, and reckon the seconds for all."""
    found: dict[str, Any] = {"rows": rows, "width": width, "classes": classes, "share": share}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write(folder / "train", max(classes, int(rows * share)), width, classes)
        write(folder / "judges", max(classes, int(judges * share)), width, classes)
        for head in HEADS:
            words = ["--part", head, "--folder", name]
            words += ["--width", str(width), "--classes", str(classes)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.imagenet_size", *words],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            facts = json.loads(done.stdout.splitlines()[-1])
            facts["all"] = facts["seconds"] + facts["passes"] * (1 / share - 1)
            all_used = facts["processor"] + facts["passes_processor"] * (1 / share - 1)
            facts["quiet"] = all_used / CORES
            found[head] = facts
    return found


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each head, beside what it must reach."""
    share = facts["share"]
    how = "measured" if share == 1 else f"reckoned from {share:.0%} of them"
    return [
        f"{name} on {facts['rows']:,} rows: {facts[name]['all']:.0f} s, {how} "
        f"{at_most(facts[name]['all'], GOAL_SECONDS)}; peak {facts[name]['peak'] / 1e9:.2f} GB "
        f"{below(facts[name]['peak'] / 1e9, GOAL_BYTES / 1e9)}; accuracy "
        f"{facts[name]['accuracy']:.4f}; {facts[name]['quiet']:.0f} s by processor "
        f"time over {CORES} cores"
        for name in HEADS
    ]


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return what each head took and came to."""
    share = facts["share"]
    grid = Grid(
        f"{facts['rows']:,} rows of {facts.get('width', WIDTH):,} float16, "
        f"{facts.get('classes', CLASSES):,} classes; {share:.0%} of the rows were trained on",
        ("head", "s, measured", "s, all rows", "s of processor, two cores", "GB, peak", "accuracy"),
    )
    for name in HEADS:
        found = facts[name]
        seconds = (found["seconds"], found["all"], found["quiet"])
        cells = [*(f"{value:.0f}" for value in seconds), f"{found['peak'] / 1e9:.2f}"]
        grid.add(HEADS[name], *cells, f"{found['accuracy']:.4f}")
    return [grid]


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=0.05, help="of the training rows")
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=WIDTH, help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, default=CLASSES, help=argparse.SUPPRESS)
    options, before = parser.parse_args(), results.load_average()
    if options.part:
        print(json.dumps(part(options.part, options.folder, options.width, options.classes)))
        return
    if not 0 < options.share <= 1:
        parser.error(f"--share is above 0 and at most 1. Received: {options.share}")
    measured = measure(options.share)
    for line in verdict(measured):
        print(line, file=sys.stderr)
    if options.out is None:
        print(json.dumps({"machine": machine(), **measured}))
    else:
        print(results.save(options.out, "imagenet_size", measured, before))


if __name__ == "__main__":
    in_one_line(main)
