"""From a folder of photographs to a head: whole processes, beside the script that trains in-graph.

    python -m benchmarks.workflow --shared ../shared

- in-graph    the script that people write: `image_dataset_from_directory`, a frozen MobileNetV2
              0.35 at 224 pixels in the graph, one Dense, RMSprop 1e-3, `fit` for 10 epochs
- nothing     `extract run` and `heads fit` with an empty cache: Keras is imported, the backbone
              built and converted, every image run through it, a head trained
- converted   the same into a new store, once the backbone has been converted
- cached      `heads fit` alone, on the store that is there

Each is the wall time of processes from start to end. A round measures all of them; ratios are
medians over the rounds. Disks are warm. Weights are at hand: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import Table, machine
from benchmarks.trajectory import plain_script_seconds

DATA = "data/cats_dogs_200px"
BACKBONE = ("--backbone-arg", "alpha=0.35")
GOALS = {"nothing": 7.0, "converted": 12.0}
FIT_SECONDS = 3.0
ACCURACY_MARGIN = 0.005


def run(words: Sequence[object], environment: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
    """Run one command with `--json`; return its wall time and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words), "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return time.perf_counter() - start, json.loads(done.stdout.splitlines()[-1])


def cached_workflow(images: Path, home: Path, folder: Path) -> dict[str, float]:
    """Return seconds of our ways, in one scratch folder, and what the head came to."""
    environment = {"KERAS_HOME": str(home), "HEADSTART_CACHE": str(folder / "cache")}
    seconds: dict[str, float] = {}
    for way in ("nothing", "converted"):
        store = folder / f"{way}.features"
        extract_words = ["extract", "run", images, "--store", store, *BACKBONE]
        extracted, _ = run(extract_words, environment)
        fitted, facts = run(["heads", "fit", store], environment)
        seconds[way] = extracted + fitted
    seconds["cached"], facts = run(["heads", "fit", folder / "converted.features"], environment)
    seconds["fit_work"] = facts["seconds"]
    seconds["accuracy"] = facts["metrics"]["validation"]["accuracy"]
    return seconds


def measure(shared: Path, *, epochs: int = 10, repeats: int = 1) -> dict[str, Any]:
    """Measure every way once a round.

    Returns:
        Medians in seconds, accuracies on validation rows, ratios to in-graph, and goals.
    """
    images, home = shared / DATA, shared / "keras_home"
    rounds: dict[str, list[float]] = {}
    for _ in range(repeats):
        plain, plain_accuracy = plain_script_seconds(images, home, epochs=epochs)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            ours = cached_workflow(images, home, Path(folder))
        for name, value in {**ours, "in-graph": plain, "plain_accuracy": plain_accuracy}.items():
            rounds.setdefault(name, []).append(value)
    table = Table("cats_dogs_200px, MobileNetV2 0.35, whole processes", "s")
    for name in ("in-graph", "nothing", "converted", "cached", "fit_work"):
        table.add(name, rounds[name])
    table.show()
    facts: dict[str, Any] = {name: statistics.median(values) for name, values in rounds.items()}
    for name in GOALS:
        pairs = zip(rounds["in-graph"], rounds[name], strict=True)
        facts[f"{name}_ratio"] = statistics.median(a / b for a, b in pairs)
    return {**facts, "epochs": epochs, "repeats": repeats}


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    lines = [
        f"from {name}: {facts[f'{name}_ratio']:.1f} x faster than {facts['epochs']} epochs in the "
        f"graph (at least {goal:.0f})"
        for name, goal in GOALS.items()
    ]
    lines.append(
        f"with features cached: {facts['cached']:.2f} s as a process (at most {FIT_SECONDS:.0f}), "
        f"{facts['fit_work']:.2f} s of it work (at most 1)"
    )
    lines.append(
        f"validation accuracy {facts['accuracy']:.4f}, in the graph {facts['plain_accuracy']:.4f} "
        f"(within {ACCURACY_MARGIN} or better)"
    )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    found = measure(options.shared.resolve(), epochs=options.epochs, repeats=options.repeats)
    for line in verdict(found):
        print(line, file=sys.stderr)
    print(json.dumps({"machine": machine(), "workflow": found}))
