"""Every result in one document: tables and pictures from the JSON of runs, nothing typed by hand.

    python -m benchmarks.report

Reads `benchmarks/results/*.json`, draws the pictures of these runs anew beside them, and writes
`benchmarks/RESULTS.md`, the part of the README between `<!-- benchmarks -->` and
`<!-- end of benchmarks -->`, and `docs/scaling.md`. A run gets there by `--out benchmarks/results`,
or, for benchmarks that print their JSON, by `> benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import (
    bench_extract,
    bench_finetune,
    bench_heads,
    bench_store,
    everyday,
    results,
    scaling,
    tutorials,
    workflows,
)
from benchmarks.tables import Grid

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"\d[\d.,]*\d|\d"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
Record = Mapping[str, Any]

HEAD = """# Results

Written by `python -m benchmarks.report` from the JSON of runs in `benchmarks/results`; each says
its command, its machine, and how many processes wanted a processor before and after it (the load
average of one minute: above the number of cores, others were at work, and times are longer).
"""
IN_README = ("workflows", "everyday")
GPU = ("bench_extract", "bench_heads", "bench_finetune", "workflows")


def verdicts_of_heads(facts: Record) -> list[str]:
    """Return the lines of all parts that were run."""
    parts = bench_heads.PARTS
    return [line for name in facts if name in parts for line in parts[name][1](facts[name])]


TITLES: Mapping[str, str] = {
    "workflows": "Both workflows side by side",
    "everyday": "The script of fifteen lines, and what we add to it",
    "tutorials": "Recipes that people start from",
    "bench_store": "Reading and checking stores",
    "bench_extract": "Extraction",
    "bench_heads": "Heads",
    "bench_finetune": "Fine-tuning",
}
VERDICTS: Mapping[str, Callable[[Record], list[str]]] = {
    "workflows": workflows.verdict,
    "everyday": everyday.verdict,
    "tutorials": tutorials.verdict,
    "bench_store": bench_store.verdict,
    "bench_extract": lambda facts: bench_extract.verdict(dict(facts)),
    "bench_heads": verdicts_of_heads,
    "bench_finetune": lambda facts: bench_finetune.verdict(dict(facts)),
}
TABLES: Mapping[str, Callable[[Record], list[Grid]]] = {
    "workflows": lambda facts: [workflows.table(facts)],
    "everyday": everyday.tables,
    "tutorials": tutorials.tables,
    "bench_store": bench_store.tables,
}
PICTURES: Mapping[str, tuple[tuple[str, ...], Callable[[Record, Path], list[Path]]]] = {
    "workflows": (("time", "epochs", "heads"), workflows.draw),
    "tutorials": (("curves",), tutorials.draw),
}


def document(records: Mapping[str, Record], folder: Path | None = None) -> str:
    """Return RESULTS.md.

    Args:
        records: Of `results.load`.
        folder: Where pictures are drawn; none are drawn without one.
    """
    parts = [HEAD]
    for benchmark, title in TITLES.items():
        parts.append(f"## {title}")
        runs = {n: r for n, r in records.items() if r["benchmark"] == benchmark}
        if not runs:
            parts.append(f"Not measured: no run of `python -m benchmarks.{benchmark}` lies here.")
        for name, record in runs.items():
            parts += section(name, record, folder)
    parts += ["## On a GPU", gpu(records).markdown()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def section(name: str, record: Record, folder: Path | None) -> list[str]:
    """Return what a run came to, as paragraphs of Markdown."""
    benchmark, facts = record["benchmark"], record["facts"]
    parts = [f"### {name}", origin(record)]
    if benchmark in TABLES:
        parts += [grid.markdown() for grid in TABLES[benchmark](facts)]
    parts.append("\n".join(f"- {line}" for line in VERDICTS[benchmark](facts)))
    if benchmark in PICTURES:
        pictures, draw = PICTURES[benchmark]
        parts += [f"![{picture}](results/{name}-{picture}.png)" for picture in pictures]
        if folder is not None:
            draw(facts, folder / name)
    return parts


def origin(record: Record) -> str:
    """Return command, machine and versions of a run, in a paragraph."""
    facts = dict(record["machine"])
    versions = ", ".join(
        f"{name} {version}" for name, version in facts.items() if name != "processor"
    )
    text = f"`{record['command']}` on {facts['processor']}; {versions}."
    if record["load_before"] is not None:
        text += (
            f" Load average {record['load_before']:.1f} before, {record['load_after']:.1f} after."
        )
    return text


def busy(record: Record) -> str:
    """Return the processor of a run, and how busy it was, since that decides times."""
    text = str(record["machine"]["processor"])
    if record["load_before"] is None:
        return text
    return f"{text}, load average {record['load_before']:.1f} to {record['load_after']:.1f}"


def gpu(records: Mapping[str, Record]) -> Grid:
    """Return rows for GPUs; a run on one would have to say so in its machine."""
    grid = Grid(
        "Each runs with KERAS_BACKEND=tensorflow, jax or torch",
        ("benchmark", "images/s", "share of the forward-only limit", "stage that waits"),
    )
    for name in GPU:
        grid.add(name, *["not measured"] * 3)
    return grid


def stored() -> dict[str, dict[str, Any]]:
    """Return the runs that are kept."""
    return results.load(results.FOLDER)


def scaling_document(records: Mapping[str, Record]) -> str:
    """Return docs/scaling.md."""
    record = records.get("scaling")
    if record is None:
        return "# How it scales\n\nNot measured: no run of `python -m benchmarks.scaling`.\n"
    return scaling.document(record, origin(record))


def readme(records: Mapping[str, Record]) -> str:
    """Return the README's paragraphs on benchmarks, with their markers."""
    lines: list[str] = []
    for name, record in records.items():
        if record["benchmark"] in IN_README:
            told = VERDICTS[record["benchmark"]](record["facts"])
            lines += [f"{name}, {busy(record)}:", "", *(f"- {text}" for text in told), ""]
    lines += [
        "[benchmarks/RESULTS.md](benchmarks/RESULTS.md) has the tables, the pictures, the machines",
        "and all other figures.",
    ]
    return "\n".join([BEGIN, *lines, END])


def strangers(text: str, document: str) -> set[str]:
    """Return the numbers of a text that a document does not have."""
    return set(re.findall(NUMBER, text)) - set(re.findall(NUMBER, document))


def block_of(text: str) -> str:
    """Return the part of the README that is written here.

    Raises:
        ValueError: If the README lacks the markers.
    """
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def with_block(text: str, block: str) -> str:
    """Return a document with another block between the markers.

    Raises:
        ValueError: If it lacks them.
    """
    return text.replace(block_of(text), block)


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    records = stored()
    scales = ROOT / "docs" / "scaling.md"
    scales.write_text(scaling_document(records), encoding="utf-8")
    target = ROOT / "benchmarks" / "RESULTS.md"
    target.write_text(document(records, results.FOLDER), encoding="utf-8")
    path = ROOT / "README.md"
    path.write_text(with_block(path.read_text(encoding="utf-8"), readme(records)), encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {len(records)} runs")


if __name__ == "__main__":
    main()
