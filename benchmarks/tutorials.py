"""Recipes that people start from, run in every workflow, beside what their sources published.

    python -m benchmarks.tutorials --shared ../shared --out results [--only keras-guide ...]
    python -m benchmarks.tutorials --only keras-guide --data PHOTOS --weights imagenet
    python -m benchmarks.tutorials --tiny

Without --data, stand-ins run (`benchmarks.recipes` says which): a small backbone with ImageNet's
weights, and small photographs. With it, the source's own backbone and size run, which downloads
its weights. With random weights times are measured, and accuracies are not claimed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import pictures, results, workflows, wrong_scale
from benchmarks.command_line import in_one_line, positive
from benchmarks.recipes import RECIPES, Recipe
from benchmarks.tables import Grid
from benchmarks.tiny import paint
from benchmarks.ways import Setup

SIZES = {"tensorflow-notebook": 128}
"""Weights of the stand-in are at hand for these sizes where the source's size has its own file."""


def measure(
    name: str,
    setup: Setup,
    ran: str,
    ways: Sequence[str] = tuple(workflows.WAYS),
    repeats: int = 1,
) -> dict[str, Any]:
    """Run a recipe; return JSON values.

    Args:
        name: Of the recipe.
        setup: What runs.
        ran: The same in words.
        ways: Which workflows.
        repeats: Of those that take seconds.
    """
    recipe = RECIPES[name]
    facts = workflows.measure(setup, ways, repeats) | {"recipe": name, "ran": ran, **_said(recipe)}
    return facts | {"wrong": wrong_scale.measure(setup) if recipe.wrong_scale else None}


def _said(recipe: Recipe) -> dict[str, Any]:
    return {"source": recipe.source, "published": dict(recipe.published), "theirs": recipe.data}


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return what the source says, and what ran."""
    grid = Grid(f"Published, on {facts['theirs']}", ("what", "value"))
    for what, value in facts["published"].items():
        grid.add(what, value)
    return [grid, workflows.table(facts)]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return lines: the source, what ran, and the catch of a wrong scale with its cost."""
    where = RECIPES[facts["recipe"]].where
    lines = [f"source: {facts['source']}: {where}", f"ran: {facts['ran']}"]
    if "all" in facts["unfreeze"]:
        lines.append("everything is trained: nothing stays frozen whose activations could be kept")
    if "--then-epochs" in facts["plain"]:
        lines.append(
            "fine-tuning in (a) is the source's own code, in which BatchNormalization moves on "
            "Keras 3, whatever its `training=False` says; (c) and (d) hold it still"
        )
    if facts["weights"] == "random":
        lines.append("random weights: no accuracy is claimed")
    if (wrong := facts["wrong"]) and "in_graph" in facts["rows"]:
        right = facts["rows"]["in_graph"]["validation"]
        lines.append(
            f"wrong scale in the graph: {wrong['seconds']:.1f} s, and then validation "
            f"{wrong['validation']:.4f} where the right one has {right:.4f}"
        )
    if wrong:
        caught = "caught" if wrong["caught"] else "NOT caught"
        lines.append(
            f"{caught} by `extract run` after {wrong['caught_after_seconds']:.1f} s: "
            f"{wrong['message']}"
        )
    return lines


def draw(facts: Mapping[str, Any], path: Path) -> list[Path]:
    """Draw learning curves of the graph, fine-tuning joined to the head; `path` has no suffix."""
    if "in_graph" not in facts["rows"]:
        return []
    row, epochs = facts["rows"]["in_graph"], facts["epochs"]
    series = {
        "training": list(enumerate(row["training"], 1)),
        "validation": [(n, value) for n, (_, value) in enumerate(row["curve"], 1)],
    }
    tuned = len(row["curve"]) > epochs
    return pictures.draw(
        path.with_name(f"{path.name}-curves"),
        series,
        title=f"{facts['recipe']}: in the graph, {facts['data']}",
        x="epoch",
        y="accuracy",
        vertical={"start fine tuning": epochs} if tuned else None,
    )


def setup_of(name: str, options: argparse.Namespace) -> tuple[Setup, str]:
    """Return what a recipe runs on, and the same in words."""
    recipe = RECIPES[name]
    if options.data is not None:
        setup = recipe.official(options.data.resolve(), options.weights)
        return setup, f"{recipe.setup.backbone} at {setup.image_size} pixels on {setup.data.name}"
    setup = recipe.standing_in(options.shared.resolve())
    return replace(setup, image_size=SIZES.get(name, setup.image_size)), recipe.standin


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="of stand-ins")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument("--data", type=Path, help="photographs of the source; not a stand-in")
    pictures.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    parser.add_argument("--weights", default="imagenet", help="with --data")
    parser.add_argument("--ways", nargs="+", choices=workflows.WAYS, default=list(workflows.WAYS))
    parser.add_argument("--repeats", type=positive, default=3, help="of the ways that take seconds")
    parser.add_argument("--out", type=Path, help="folder of the JSON and the pictures")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    options = parse(words)
    for name in options.only:
        before = results.load_average()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if options.tiny:
                setup = RECIPES[name].tiny(paint(Path(folder) / "tiny"))
                facts = measure(
                    name, setup, "random weights, pictures of noise", options.ways, options.repeats
                )
            else:
                facts = measure(name, *setup_of(name, options), options.ways, options.repeats)
        report(facts, options.out, before)


def report(facts: Mapping[str, Any], out: Path | None, before: float | None) -> None:
    """Print tables and lines; write JSON and pictures where asked for."""
    for grid in tables(facts):
        grid.show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    if out is not None:
        name = f"tutorials-{facts['recipe']}"
        path = results.save(out, name, facts, before)
        print("\n".join(map(str, [path, *draw(facts, path.with_suffix(""))])))


if __name__ == "__main__":
    in_one_line(main)
