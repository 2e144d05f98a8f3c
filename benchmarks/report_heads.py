"""How `benchmarks.report` shows runs of heads: those of `bench_heads`, and what runs by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import bench_heads, heads_audit, heads_augment, imagenet_size, workflows
from benchmarks.tables import Grid

Record = Mapping[str, Any]


def verdicts(facts: Record) -> list[str]:
    """Return the lines of the parts of `bench_heads` that were run."""
    parts = bench_heads.PARTS
    return [line for name in facts if name in parts for line in parts[name][1](facts[name])]


def tables(facts: Record) -> list[Grid]:
    """Return the tables of the parts of `bench_heads` that were run."""
    return [grid for name in facts if name in PARTS for grid in PARTS[name](facts[name])]


def sweep(facts: Record) -> list[Grid]:
    """Return how long heads take at once, and one by one."""
    keys = ("one", "many", "all", "one_by_one", "keras")
    grid = Grid(
        "Linear heads of 1280 features on 2000 rows, seconds",
        ("", "one head", "at once", "at once, none dropped", "one by one", "one, Keras"),
    )
    for classes, found in facts.items():
        cells = [f"{found[key]:.3f}" if key in found else "not measured" for key in keys]
        grid.add(f"{found['heads']} heads, {classes} classes", *cells)
    return [grid]


def audit(facts: Record) -> list[Grid]:
    """Return what was planted and how much of it was found."""
    grid = Grid("Planted in the photographs", ("what", "found", "precision"))
    for kind in heads_audit.KINDS:
        found = facts["planted"][kind]
        grid.add(f"copies, {kind}", f"{found['found']:.3f}", f"{found['precision']:.3f}")
    labels = facts["labels"]
    grid.add("swapped labels", f"{labels['recall']:.3f}", f"{labels['precision']:.3f}")
    return [grid]


PARTS: Mapping[str, Callable[[Record], list[Grid]]] = {
    "workflow": lambda facts: [workflows.table(facts)],
    "sweep": sweep,
    "imagenet": imagenet_size.tables,
    "augment": heads_augment.tables,
    "audit": audit,
}
TITLES: Mapping[str, str] = {
    "bench_heads": "Heads",
    "imagenet_size": "Heads at the size of ImageNet",
}
VERDICTS: Mapping[str, Callable[[Record], list[str]]] = {
    "bench_heads": verdicts,
    "imagenet_size": imagenet_size.verdict,
}
TABLES: Mapping[str, Callable[[Record], list[Grid]]] = {
    "bench_heads": tables,
    "imagenet_size": imagenet_size.tables,
}
