"""Pictures of both workflows: accuracy over time, cost over epochs, cost over heads tried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import pictures
from benchmarks.reckoning import in_graph_seconds
from benchmarks.ways import WAYS

OF_EPOCHS = {"in_graph", "fifteen_lines", "first", "again", "cached", "epochs", "many"}
OF_HEADS = {"in_graph", "first", "cached", "sweep"}


def draw(facts: Mapping[str, Any], path: Path) -> list[Path]:
    """Draw those of the three pictures whose ways were gone; `path` has no suffix."""
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
    if rows.keys() >= OF_EPOCHS:
        written += _cost_of_epochs(facts, path.with_name(f"{path.name}-epochs"), what)
    if rows.keys() >= OF_HEADS:
        written += _cost_of_heads(facts, path.with_name(f"{path.name}-heads"), what)
    return written


def _cost_of_epochs(facts: Mapping[str, Any], path: Path, what: str) -> list[Path]:
    rows, measured = facts["rows"], facts["epochs"]
    steps = range(1, max(facts["many_epochs"], measured) + 1)
    fewer, more = rows["epochs"]["seconds"], rows["many"]["seconds"]
    one = max(0.0, (more - fewer) / (facts["many_epochs"] - measured))
    in_graph = [(n, in_graph_seconds(facts, n)) for n in steps]
    series = {"a: in the graph, measured": in_graph[:measured]}
    series["a: later epochs reckoned from their mean"] = in_graph[measured - 1 :]
    for name in ("first", "again"):
        extraction = rows[name]["seconds"] - rows["cached"]["seconds"]
        text = f"{WAYS[name].replace('head', 'Keras head')}; epochs reckoned"
        series[text] = [(n, extraction + fewer + (n - measured) * one) for n in steps]
    series[WAYS["fifteen_lines"]] = [(n, rows["fifteen_lines"]["seconds"]) for n in steps]
    return pictures.draw(
        path,
        series,
        title=f"Cost against epochs: {what}",
        x="epochs",
        y="seconds of whole processes, log scale",
        log_y=True,
        dashed=[name for name in series if "reckoned" in name],
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
