"""Both workflows of transfer learning side by side: the backbone in the graph, and features once.

    python -m benchmarks.workflows --data ../shared/data/cats_dogs_200px --out results
    python -m benchmarks.workflows --tiny --out results

`benchmarks.ways` says what the ways are and how each is measured; all run once, one after the
other, as whole processes. Disks are warm, and nothing is downloaded that lies in KERAS_HOME. It
prints a table, the point from which extraction pays, and what has to be reached; --out gets the
JSON, and pictures as PNG and SVG: accuracy over time, cost over epochs, cost over heads tried.

Not measured, but reckoned from what was: more epochs than --epochs in the graph (each as long as
the median of those that ran), and further heads there (each as long as the whole first run).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pictures, results
from benchmarks.tables import Grid
from benchmarks.tiny import paint
from benchmarks.ways import Setup, Ways
from extract.backbones import parse_arguments
from heads.bootstrap import intervals, mean_of

WAYS = {
    "in_graph": "a: in the graph",
    "fifteen_lines": "b0: script of 15 lines",
    "first": "b: extract + head, nothing at hand",
    "again": "b: the same, backbone converted",
    "cached": "b: head alone, features cached",
    "epochs": "b: head of (a), features cached",
    "many": "b: the same for many epochs",
    "sweep": "b: heads tried, features cached",
    "full": "c: fine-tuning in full",
    "suffix": "d: fine-tuning of the top, cached",
}
GOALS = {"first": 7.0, "again": 12.0}
MANY_EPOCHS_GOAL = 35.0
HEADS_GOAL = 100.0
MARGIN = 0.005
UNEVEN = 4.0
"""Difference of load averages from which ratios of times mean nothing, on a few cores."""
TINY = Setup(
    data=Path(),
    backbone="mobilenet",
    arguments={"alpha": 0.25},
    weights="random",
    image_size=32,
    epochs=2,
    many_epochs=4,
    heads=3,
    tuned_epochs=1,
)


def measure(setup: Setup, ways: Sequence[str] = tuple(WAYS)) -> dict[str, Any]:
    """Go every way once; return JSON values."""
    rows = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        going = Ways(setup, Path(folder))
        for name in ways:
            row = getattr(going, name)()
            print(f"{WAYS[name]}: {row.seconds:.1f} s", file=sys.stderr, flush=True)
            rows[name] = asdict(row) | {"load": results.load_average()}
    facts = asdict(setup) | {"data": setup.data.name, "counts": setup.counts(), "rows": rows}
    facts["weights"] = Path(setup.weights).name
    return facts


def in_graph_seconds(facts: Mapping[str, Any], epochs: float) -> float:
    """Return what so many epochs in the graph take as a process: a start, and epochs of one length.

    What was measured stands where `epochs` is what was measured.
    """
    row = facts["rows"]["in_graph"]
    return float(row["seconds"] + (epochs - facts["epochs"]) * row["epoch_seconds"])


def pays(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return from how many epochs, and heads of `epochs` epochs, extraction from nothing is less.

    Source: start + e * epoch >= extraction and one head; m * (a whole run) >= extraction and m
    heads, each as long as one `heads fit` as a process.
    """
    rows = facts["rows"]
    one = rows["in_graph"]["epoch_seconds"]
    epochs = (rows["first"]["seconds"] - in_graph_seconds(facts, 0)) / one
    extraction = rows["first"]["seconds"] - rows["cached"]["seconds"]
    gain = rows["in_graph"]["seconds"] - rows["cached"]["seconds"]
    heads = extraction / gain if gain > 0 else float("inf")
    return {"epochs": max(1.0, np.ceil(epochs)), "heads": max(1.0, np.ceil(heads))}


def many_epochs(facts: Mapping[str, Any]) -> float:
    """Return how often faster many epochs are on features, the backbone converted.

    In the graph they are reckoned; on features they were measured.
    """
    rows = facts["rows"]
    extraction = rows["again"]["seconds"] - rows["cached"]["seconds"]
    ours = extraction + rows["many"]["seconds"]
    return float(in_graph_seconds(facts, facts["many_epochs"]) / ours)


def many_heads(facts: Mapping[str, Any]) -> float:
    """Return how often faster trying all heads is on features, extraction included."""
    rows = facts["rows"]
    extraction = rows["again"]["seconds"] - rows["cached"]["seconds"]
    ours = extraction + rows["sweep"]["seconds"]
    return float(facts["heads"] * rows["in_graph"]["seconds"] / ours)


def table(facts: Mapping[str, Any]) -> Grid:
    """Return every way beside the others."""
    grid = Grid(
        f"{facts['data']}, {facts['backbone']} {_said(facts['arguments'])} at "
        f"{facts['image_size']} pixels, {facts['weights']} weights, {facts['epochs']} epochs in "
        f"the graph, {facts['many_epochs']} many, {facts['tuned_epochs']} of fine-tuning, "
        f"{facts['heads']} heads tried",
        (
            "way",
            "load",
            "s, processes",
            "s, work",
            "MB, peak",
            "MB, disk",
            "images",
            "validation",
            "test",
        ),
    )
    for name, row in facts["rows"].items():
        peak = row["peak_bytes"]
        grid.add(
            WAYS[name],
            "-" if row["load"] is None else f"{row['load']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['work_seconds']:.1f}",
            "not measured" if peak is None else f"{peak / 1e6:,.0f}",
            f"{row['disk_bytes'] / 1e6:,.1f}",
            f"{row['images']:,}",
            _accuracy(row["validation"], facts["counts"]["validation"]),
            _accuracy(row["test"], facts["counts"].get("test", 0)),
        )
    return grid


def _said(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _accuracy(value: float | None, rows: int) -> str:
    """Return an accuracy with its 95 % interval; a mean of rows right, so a count is enough."""
    if value is None:
        return "no such images" if rows == 0 else "-"
    right = np.arange(rows) < round(value * rows)
    low, high = intervals({"accuracy": mean_of(right)})["accuracy"]
    return f"{value:.4f} ({low:.3f} to {high:.3f})"


def uneven(facts: Mapping[str, Any]) -> list[str]:
    """Return a warning where the machine was much busier during one way than during another.

    A way alone on the machine has a load of about its own threads, so some difference is right.
    """
    loads = [row["load"] for row in facts["rows"].values() if row["load"] is not None]
    if not loads or max(loads) - min(loads) <= UNEVEN:
        return []
    return [
        f"NOT COMPARABLE: the load average was {min(loads):.1f} after one way and {max(loads):.1f} "
        f"after another; ratios of times below are those of a busy machine to a quiet one"
    ]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach on real photographs."""
    rows, epochs = facts["rows"], facts["epochs"]
    whole, found = rows["in_graph"]["seconds"], pays(facts)
    lines = uneven(facts)
    lines += [
        f"extraction pays back after {found['epochs']:.0f} epochs, or {found['heads']:.0f} heads "
        f"of {epochs} epochs"
    ]
    for name, goal in GOALS.items():
        ratio = whole / rows[name]["seconds"]
        lines.append(f"{WAYS[name]}: {ratio:.1f} x faster than {epochs} epochs in the graph "
                     f"(10 epochs: at least {goal:.0f})")  # fmt: skip
    lines.append(
        f"{facts['many_epochs']} epochs: {many_epochs(facts):.1f} x faster with a converted "
        f"backbone, those in the graph reckoned from {epochs} (50: at least {MANY_EPOCHS_GOAL:.0f})"
    )
    lines.append(
        f"{facts['heads']} heads tried: {many_heads(facts):.0f} x faster than as many runs in the "
        f"graph, reckoned from one (20 heads: at least {HEADS_GOAL:.0f})"
    )
    for name in ("cached", "epochs"):
        apart = rows[name]["validation"] - rows["in_graph"]["validation"]
        lines.append(
            f"{WAYS[name]}: validation accuracy {apart:+.4f} beside (a) (within {MARGIN}, or more)"
        )
    return lines


def draw(facts: Mapping[str, Any], path: Path) -> list[Path]:
    """Draw the three pictures; `path` has no suffix."""
    rows, what = facts["rows"], f"{facts['data']}, {facts['backbone']}"
    curves = {
        WAYS[name]: [tuple(point) for point in row["curve"]]
        for name, row in rows.items()
        if row["curve"] and name not in ("cached", "epochs", "many")  # these begin with features
    }
    written = pictures.draw(
        path.with_name(f"{path.name}-time"),
        curves,
        title=f"Time to accuracy: {what}",
        x="seconds since the start, log scale",
        y=f"accuracy on {facts['counts']['validation']:,} validation images",
        log_x=True,
    )
    written += _cost_of_epochs(facts, path.with_name(f"{path.name}-epochs"), what)
    return written + _cost_of_heads(facts, path.with_name(f"{path.name}-heads"), what)


def _cost_of_epochs(facts: Mapping[str, Any], path: Path, what: str) -> list[Path]:
    rows, measured = facts["rows"], facts["epochs"]
    steps = range(1, max(facts["many_epochs"], measured) + 1)
    fewer, more = rows["epochs"]["seconds"], rows["many"]["seconds"]
    one = max(0.0, (more - fewer) / (facts["many_epochs"] - measured))
    series = {"a: in the graph, measured": [(measured, rows["in_graph"]["seconds"])]}
    series["a: reckoned from the median epoch"] = [(n, in_graph_seconds(facts, n)) for n in steps]
    for name in ("first", "again"):
        extraction = rows[name]["seconds"] - rows["cached"]["seconds"]
        text = f"{WAYS[name]}; epochs reckoned"
        series[text] = [(n, extraction + fewer + (n - measured) * one) for n in steps]
    series[WAYS["fifteen_lines"]] = [(n, rows["fifteen_lines"]["seconds"]) for n in steps]
    return pictures.draw(
        path,
        series,
        title=f"Cost against epochs: {what}",
        x="epochs",
        y="seconds of whole processes, log scale",
        log_y=True,
        dashed=list(series)[1:],
    )


def _cost_of_heads(facts: Mapping[str, Any], path: Path, what: str) -> list[Path]:
    rows, tried = facts["rows"], facts["heads"]
    steps = [1, *range(2, tried + 1)]
    extraction = rows["first"]["seconds"] - rows["cached"]["seconds"]
    series = {
        "b: extraction and a sweep, measured": [(tried, extraction + rows["sweep"]["seconds"])],
        "a: in the graph, each as long as the first": [
            (n, n * rows["in_graph"]["seconds"]) for n in steps
        ],
        "b: extraction, and `heads fit` for each": [
            (n, extraction + n * rows["cached"]["seconds"]) for n in steps
        ],
    }
    return pictures.draw(
        path,
        series,
        title=f"Cost against heads tried: {what}",
        x="heads tried",
        y="seconds of whole processes, log scale",
        log_y=True,
        dashed=list(series)[1:],
    )


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with train/, validation/, perhaps test/")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--backbone-arg", action="append", metavar="NAME=VALUE")
    parser.add_argument("--weights", default="imagenet", help="imagenet, random, or a file")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=10, help="in the graph")
    parser.add_argument("--heads", type=int, default=20, help="how many are tried")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="fewer of them")
    parser.add_argument("--out", type=Path, help="folder of the JSON and the pictures")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    return parser.parse_args(words)


def setup_of(options: argparse.Namespace) -> Setup:
    """Return what the options ask for."""
    given = options.backbone_arg
    if given is None:
        given = ["alpha=0.35"] if options.backbone == "mobilenet_v2" else []
    at = Path(options.weights)
    return Setup(
        data=options.data.resolve(),
        backbone=options.backbone,
        arguments=parse_arguments(given),
        weights=str(at.resolve()) if at.is_file() else options.weights,
        image_size=options.image_size,
        epochs=options.epochs,
        heads=options.heads,
    )


def report(facts: Mapping[str, Any], out: Path | None, name: str, before: float | None) -> None:
    """Print the table and what has to be reached; write JSON and pictures where asked for."""
    table(facts).show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    if out is not None:
        written = [results.save(out, name, facts, before), *draw(facts, out / name)]
        print("\n".join(map(str, written)))


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    options, before = parse(words), results.load_average()
    if options.tiny:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            data = paint(Path(folder) / "tiny")
            report(measure(tiny(data), options.ways), options.out, "workflows-tiny", before)
    elif options.data is None:
        sys.exit("Give --data FOLDER, with train/ and validation/ over class folders; or --tiny")
    else:
        setup = setup_of(options)
        report(measure(setup, options.ways), options.out, f"workflows-{setup.data.name}", before)


def tiny(data: Path) -> Setup:
    """Return a setup of seconds."""
    return Setup(**{**vars(TINY), "data": data})


if __name__ == "__main__":
    main()
