"""Heads: every figure that they must reach, side by side in one run.

    python -m benchmarks.bench_heads --shared ../shared [--only linear,workflow] [--out RESULTS]

- linear       `logistic` and `ridge` beside scikit-learn (`benchmarks.heads_linear`)
- trajectory   a Keras head on cached features beside the same head in the graph, epoch by epoch
               (`benchmarks.trajectory`)
- workflow     `extract run` and `heads fit` beside ten epochs in the graph, as whole processes
               (`benchmarks.workflows`, without fine-tuning)
- audit        near duplicates at size, planted duplicates, swapped labels, a report's cost
               (`benchmarks.heads_audit`)
- sweep        52 heads in one product beside one, and one by one (`benchmarks.heads_sweep`)
- imagenet     ridge and a streamed linear head at the size of ImageNet, reckoned from 5 % of the
               rows (`benchmarks.imagenet_size`, which measures all of them with `--share 1`)
- augment      what augmentation of features does, with few images
- accuracy     logistic heads on photographs: validation of cats_dogs, test of beans

What each leaves out is in the docstring of its module. All of it takes about twenty minutes on
two cores, most of them the in-graph script and scikit-learn. With `--out` each part is a record of
its own, bench_heads-PART.json, written when that part is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import extract
import heads
from benchmarks import (
    heads_audit,
    heads_augment,
    heads_linear,
    heads_sweep,
    imagenet_size,
    results,
    trajectory,
    workflows,
)
from benchmarks.command_line import in_one_line, photographs_of
from benchmarks.goals import at_least
from benchmarks.timing import machine
from benchmarks.ways import Setup

FULL_WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_dequantised.h5"
ACCURACY_GOALS = {
    ("cats_dogs_200px", "validation", 0.35): 0.960,
    ("beans_256px", "test", 0.35): 0.875,
    ("cats_dogs_200px", "validation", 1.0): 0.985,
    ("beans_256px", "test", 1.0): 0.90,
}


def measure_accuracy(shared: Path) -> dict[str, Any]:
    """Return the accuracy of the default head for each of `ACCURACY_GOALS`."""
    found = {}
    for (name, split, alpha), goal in ACCURACY_GOALS.items():
        weights = "imagenet" if alpha != 1.0 else str(shared / FULL_WEIGHTS)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            store = Path(folder) / "photos.features"
            extract.run(
                photographs_of(shared, name), store, arguments={"alpha": alpha}, weights=weights
            )
            report = heads.evaluate(heads.fit(store), split=split).report
        found[f"{name} {split}, alpha {alpha}"] = {"accuracy": report.accuracy, "goal": goal}
    return found


def show_accuracy(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each accuracy, beside what it must reach."""
    return [
        f"{name}: {found['accuracy']:.4f} {at_least(found['accuracy'], found['goal'], '.3f')}"
        for name, found in facts.items()
    ]


def measure_workflow(shared: Path) -> dict[str, Any]:
    """Compare both workflows, without fine-tuning."""
    setup = Setup(data=shared / "data" / "cats_dogs_200px")
    ways = [name for name in workflows.WAYS if name not in ("full", "suffix")]
    return workflows.measure(setup, ways)


PARTS: Mapping[str, tuple[Callable[..., Any], Callable[[Any], list[str]]]] = {
    "linear": (lambda shared, **sizes: heads_linear.measure(**sizes), heads_linear.verdict),
    "trajectory": (trajectory.measure, trajectory.verdict),
    "workflow": (measure_workflow, workflows.verdict),
    "sweep": (lambda shared, **sizes: heads_sweep.measure(**sizes), heads_sweep.verdict),
    "imagenet": (lambda shared, **sizes: imagenet_size.measure(**sizes), imagenet_size.verdict),
    "augment": (heads_augment.measure, heads_augment.verdict),
    "accuracy": (measure_accuracy, show_accuracy),
    "audit": (heads_audit.measure, heads_audit.verdict),
}


def main(
    shared: Path,
    parts: Sequence[str] = tuple(PARTS),
    out: Path | None = None,
    sizes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure the parts in turn; return what `--json` prints.

    Args:
        shared: The folder of real weights and photographs.
        parts: Names of `PARTS`.
        out: Folder of a record for each part; none is written without one.
        sizes: Part → arguments of its `measure`, for runs smaller than the real one.
    """
    found: dict[str, Any] = {"machine": machine()}
    for name in parts:
        measure, verdict = PARTS[name]
        before = results.load_average()
        found[name] = measure(shared, **(sizes or {}).get(name, {}))
        for line in verdict(found[name]):
            print(line, file=sys.stderr)
        if out is not None:
            path = results.save(out, f"bench_heads-{name}", {name: found[name]}, before)
            print(path, file=sys.stderr)
    return found


def command() -> None:
    """Read the command line, and measure what it asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--out", type=Path, help="folder of the JSON, a record for each part")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"--only takes {', '.join(PARTS)}. Received: {unknown[0]}")
    measured = main(options.shared.resolve(), chosen, options.out)
    if options.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    in_one_line(command)
