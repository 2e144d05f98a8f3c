"""Rows for RESULTS.md of runs whose device was a GPU; "not measured" where there is none yet.

A record says its device itself (`benchmarks.device`): nothing is told here by hand. Where a
benchmark has no such figure a "-" stands: training has no limit by the forward pass alone, and
heads see features, not images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.device import CPU
from benchmarks.tables import Grid

Facts = Mapping[str, Any]
Cells = tuple[str, str, str, str]
"""What ran, images per second, share of the forward-only limit, which stage waits."""


def extraction(facts: Facts) -> Iterator[Cells]:
    """Yield a row for each folder."""
    for name, found in facts["folders"].items():
        share = f"{found['share_of_forward']:.2f}"
        yield name, f"{found['float32']:,.0f}", share, found["waits"]


def workflow(facts: Facts) -> Iterator[Cells]:
    """Yield rows of the backbone in the graph, and of extraction."""
    rows, counts = facts["rows"], facts["counts"]
    if "in_graph" in rows:
        # An epoch ends with a look at the validation images.
        images = counts["train"] + counts["validation"]
        rate = images / rows["in_graph"]["epoch_seconds"]
        yield f"{facts['data']}, in the graph", f"{rate:,.0f}", "-", "-"
    if pace := rows.get("first", {}).get("pace"):
        share = f"{pace['share_of_forward']:.2f}"
        text = f"{facts['data']}, extraction"
        yield text, f"{pace['images_per_second']:,.0f}", share, pace["waits"]


def finetuning(facts: Facts) -> Iterator[Cells]:
    """Yield rows of both modes at each cut."""
    for row in facts.get("speed", []):
        for mode in ("full", "suffix"):
            rate = row["images"] / row[f"{mode}_epoch"]
            yield f"{row['cut']}, {mode}", f"{rate:,.0f}", "-", "-"


def heads(facts: Facts) -> Iterator[Cells]:
    """Yield one row: that it ran."""
    yield ", ".join(facts), "-", "-", "-"


ROWS: Mapping[str, Callable[[Facts], Iterator[Cells]]] = {
    "bench_extract": extraction,
    "bench_heads": heads,
    "bench_finetune": finetuning,
    "workflows": workflow,
    "tutorials": workflow,
}


def grid(records: Mapping[str, Mapping[str, Any]]) -> Grid:
    """Return the table of all runs on GPUs, with a line for each benchmark that has none."""
    found = Grid(
        "Each runs with KERAS_BACKEND=tensorflow, jax or torch",
        (
            *("benchmark", "device", "what", "images/s"),
            *("share of the forward-only limit", "stage that waits"),
        ),
    )
    for benchmark, rows in ROWS.items():
        runs = [r for r in records.values() if r["benchmark"] == benchmark and _on_gpu(r)]
        for record in runs:
            machine = record["machine"]
            device = f"{machine['device']}, {machine['backend']}, {machine['precision']}"
            for cells in rows(record["facts"]):
                found.add(benchmark, device, *cells)
        if not runs:
            found.add(benchmark, *["not measured"] * 5)
    return found


def _on_gpu(record: Mapping[str, Any]) -> bool:
    """Tell whether a record names a GPU; those of before devices were noted are of processors."""
    return record["machine"].get("device", CPU) != CPU
