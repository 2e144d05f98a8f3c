"""Both workflows of transfer learning side by side: the backbone in the graph, and features once.

    python -m benchmarks.workflows --data ../shared/data/cats_dogs_200px --out results
    python -m benchmarks.workflows --tiny --out results

`benchmarks.ways` says what the ways are and how each is measured; all run one after the other, as
whole processes: those of seconds --repeats times, in turn, told as median and range; the others
once, of which the graph tells the median and the range of its epochs.

Disks are warm, and nothing is downloaded that lies in KERAS_HOME. It prints a table, the point from
which extraction pays, and what has to be reached; --out gets the JSON, and pictures as PNG and SVG:
accuracy over time, cost over epochs, cost over heads tried.

Not measured, but reckoned from what was: more epochs than --epochs in the graph (each as long as
the mean of those after the first), and further heads there (each as long as the whole first run).
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.command_line import in_one_line, positive
from benchmarks.goals import at_least
from benchmarks.reckoning import many_epochs, many_heads, pays
from benchmarks.tables import Grid, told
from benchmarks.tiny import paint
from benchmarks.ways import WAYS as WAYS  # others know it by the name of this module
from benchmarks.ways import Row, Setup, Ways, median_of
from benchmarks.workflow_pictures import draw
from extract.backbones import parse_arguments
from heads.bootstrap import intervals, mean_of

REPEATED = ("again", "cached", "epochs", "many", "sweep")
"""Ways of seconds, which are repeated in turn."""
MANY = 5
"""Times as many epochs are many: 50 by default."""
GOALS = {"first": 7.0, "again": 12.0}
"""Of 10 epochs in the graph."""
MANY_EPOCHS_GOAL = 35.0
"""Of 50 epochs."""
HEADS_GOAL = 100.0
"""Of 20 heads."""
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


def measure(setup: Setup, ways: Sequence[str] = tuple(WAYS), repeats: int = 1) -> dict[str, Any]:
    """Go every way once, and those of `REPEATED` in turn `repeats` times; return JSON values."""
    setup.check()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        going = Ways(setup, Path(folder))
        for names in rounds(possible(setup, ways)):
            found: dict[str, list[Row]] = {name: [] for name in names}
            for _ in range(repeats if names[0] in REPEATED else 1):
                for name in names:
                    found[name].append(getattr(going, name)())
                    seconds = found[name][-1].seconds
                    print(f"{WAYS[name]}: {seconds:.1f} s", file=sys.stderr, flush=True)
            for name, several in found.items():
                rows[name] = asdict(median_of(several)) | {"load": results.load_average()}
    facts = asdict(setup) | {"data": setup.data.name, "counts": setup.counts(), "rows": rows}
    facts["weights"] = Path(setup.weights).name
    return facts


def rounds(ways: Sequence[str]) -> list[list[str]]:
    """Return the ways in order, those that are repeated in turn together."""
    return [
        part
        for repeated, group in itertools.groupby(ways, REPEATED.__contains__)
        for part in ([list(group)] if repeated else [[name] for name in group])
    ]


def possible(setup: Setup, ways: Sequence[str]) -> list[str]:
    """Return the ways that can be gone, in order: with the one whose store others work on.

    Where all is trained, there is no top on kept activations.
    """
    chosen = {name for name in ways if name != "suffix" or "all" not in setup.unfreeze}
    if chosen & {*REPEATED, "full", "suffix"}:
        chosen.add("again")
    return [name for name in WAYS if name in chosen]


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
            _seconds(row),
            f"{row['work_seconds']:.1f}",
            "not measured" if peak is None else f"{peak / 1e6:,.0f}",
            f"{row['disk_bytes'] / 1e6:,.1f}",
            f"{row['images']:,}",
            _accuracy(row["validation"], facts["counts"]["validation"]),
            _accuracy(row["test"], facts["counts"].get("test", 0)),
        )
    return grid


def _seconds(row: Mapping[str, Any]) -> str:
    return told(_repeats(row), unit="")


def _repeats(row: Mapping[str, Any]) -> list[float]:
    return row.get("repeats") or [row["seconds"]]


def _said(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _accuracy(value: float | None, rows: int) -> str:
    """Return an accuracy with its 95 % interval; a mean of rows right, so a count is enough."""
    if value is None:
        return "no test images" if rows == 0 else "-"
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
    """Return a line for each figure whose ways were gone, beside what it must reach."""
    gone = facts["rows"].keys()
    found = [lines(facts) for needed, lines in FIGURES if needed <= gone]
    return uneven(facts) + [line for lines in found for line in lines]


def _when_it_pays(facts: Mapping[str, Any]) -> list[str]:
    found = pays(facts)
    return [
        f"extraction pays back after epoch {found['epochs']:.0f}, or head {found['heads']:.0f} "
        f"of {facts['epochs']} epochs"
    ]


def _epoch_in_the_graph(facts: Mapping[str, Any]) -> list[str]:
    row = facts["rows"]["in_graph"]
    if not row.get("epoch_range"):
        return []
    shortest, longest = row["epoch_range"]
    return [
        f"an epoch in the graph: {row['epoch_seconds']:.1f} s, median of {facts['epochs']} "
        f"[{shortest:.1f} to {longest:.1f}]"
    ]


def _extraction(facts: Mapping[str, Any]) -> list[str]:
    rows, epochs = facts["rows"], facts["epochs"]
    lines = []
    for name, goal in GOALS.items():
        ratios = [rows["in_graph"]["seconds"] / seconds for seconds in _repeats(rows[name])]
        lines.append(
            f"{WAYS[name]}: {told(ratios, 1, 'x')} faster than {epochs} epochs in the graph"
            + _goal(epochs == 10, statistics.median(ratios), goal)
        )
    return lines


def _many_epochs(facts: Mapping[str, Any]) -> list[str]:
    rows = facts["rows"]
    apart = rows["many"]["validation"] - rows["in_graph"]["validation"]
    return [
        f"{facts['many_epochs']} epochs: {many_epochs(facts):.1f} x faster with a converted "
        f"backbone, those in the graph reckoned from {facts['epochs']}"
        + _goal(facts["many_epochs"] == 50, many_epochs(facts), MANY_EPOCHS_GOAL)
        + f"; on features their validation accuracy is {apart:+.4f} beside {facts['epochs']} in "
        f"the graph"
    ]


def _many_heads(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"{facts['heads']} heads tried: {many_heads(facts, 'again'):.0f} x faster with a converted "
        f"backbone, {many_heads(facts, 'first'):.0f} x from nothing, than as many runs in the "
        f"graph, reckoned from one"
        + _goal(facts["heads"] == 20, many_heads(facts, "again"), HEADS_GOAL)
    ]


def _goal(is_set: bool, found: float, goal: float) -> str:
    """Return the goal of a figure; none is set for other numbers of epochs or heads."""
    return f" {at_least(found, goal)}" if is_set else ""


def _accuracies(facts: Mapping[str, Any]) -> list[str]:
    rows = facts["rows"]
    apart = {
        n: rows[n]["validation"] - rows["in_graph"]["validation"] for n in ("cached", "epochs")
    }
    return [
        f"{WAYS[name]}: validation accuracy {value:+.4f} beside (a) "
        f"(at least -{MARGIN}{'' if round(value, 4) >= -MARGIN else ': MISSED'})"
        for name, value in apart.items()
    ]


FIGURES: Sequence[tuple[set[str], Callable[[Mapping[str, Any]], list[str]]]] = (
    ({"in_graph", "first", "cached"}, _when_it_pays),
    ({"in_graph"}, _epoch_in_the_graph),
    ({"in_graph", *GOALS}, _extraction),
    ({"in_graph", "again", "cached", "many"}, _many_epochs),
    ({"in_graph", "first", "again", "cached", "sweep"}, _many_heads),
    ({"in_graph", "cached", "epochs"}, _accuracies),
)
"""Ways, and what is said of them together."""


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument("--data", type=Path, help="with train/, validation/, perhaps test/")
    pictures.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--backbone-arg", action="append", metavar="NAME=VALUE")
    parser.add_argument("--weights", default="imagenet", help="imagenet, random, or a file")
    parser.add_argument("--image-size", type=positive, default=224)
    parser.add_argument("--epochs", type=positive, default=10, help="in the graph")
    parser.add_argument("--heads", type=positive, default=20, help="how many are tried")
    parser.add_argument("--repeats", type=positive, default=3, help="of the ways that take seconds")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="fewer of them")
    parser.add_argument("--out", type=Path, help="folder of the JSON and the pictures")
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
        many_epochs=MANY * options.epochs,
        heads=options.heads,
    )


def report(facts: Mapping[str, Any], out: Path | None, name: str, before: float | None) -> None:
    """Print the table and what has to be reached; write JSON and pictures where asked for."""
    table(facts).show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    if out is not None:
        path = results.save(out, name, facts, before)
        print("\n".join(map(str, [path, *draw(facts, path.with_suffix(""))])))


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    options, before = parse(words), results.load_average()
    if options.tiny:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            data = paint(Path(folder) / "tiny")
            report(
                measure(tiny(data), options.ways, options.repeats),
                options.out,
                "workflows-tiny",
                before,
            )
    elif options.data is None:
        sys.exit("Give --data FOLDER, with train/ and validation/ over class folders; or --tiny")
    else:
        setup = setup_of(options)
        report(
            measure(setup, options.ways, options.repeats),
            options.out,
            f"workflows-{setup.data.name}",
            before,
        )


def tiny(data: Path) -> Setup:
    """Return a setup of seconds."""
    return Setup(**{**vars(TINY), "data": data})


if __name__ == "__main__":
    in_one_line(main)
