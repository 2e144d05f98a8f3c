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
    bench_cluster,
    bench_extract,
    bench_finetune,
    bench_inputs,
    bench_store,
    bench_views,
    device,
    everyday,
    on_gpu,
    report_heads,
    results,
    scaling_model,
    tutorials,
    workflow_pictures,
    workflows,
)
from benchmarks.command_line import in_one_line
from benchmarks.tables import Grid

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"\d[\d.,]*\d|\d"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
Record = Mapping[str, Any]

HEAD = """# Results

Written by `python -m benchmarks.report` from the JSON of runs in `benchmarks/results`; each says
its command, its machine, and how many processes wanted a processor before and after it (the load
average of one minute: above the number of cores, others were at work, and times are longer).
Behind a figure stands what it must reach, and MISSED where it does not.
"""
IN_README = ("workflows", "everyday")


TITLES: Mapping[str, str] = {
    "workflows": "Both workflows side by side",
    "everyday": "The script of fifteen lines, and what we add to it",
    "tutorials": "Recipes that people start from",
    "bench_store": "Reading and checking stores",
    "bench_extract": "Extraction",
    **report_heads.TITLES,
    "bench_finetune": "Fine-tuning",
    "bench_inputs": "Listing, planning, memory",
    "bench_views": "Views",
    "bench_cluster": "A cluster on one machine",
}
NOTES: Mapping[str, str] = {
    "workflows": "Seconds are of whole processes, start and imports included; those of work are "
    "without. Load is the load average after a way, images are passes of an image through the "
    "backbone, and behind an accuracy stands its 95 % interval. (a) is what all is compared with.",
    "everyday": "MobileNetV2 0.35 at 224 pixels. Features count as apart by more than 1 % of their "
    "norm: TensorFlow decodes JPEG with a coarser transform, and does not turn pictures as their "
    "EXIF tag says.",
    "bench_extract": "MobileNetV2 1.0 at 224 pixels. keras is `model.predict` over "
    "`image_dataset_from_directory`, float32 and bfloat16 are `extract.run`; decode and forward "
    "are each alone on all cores, and ideal is 1 / (1 / decode + 1 / forward), since both want "
    "the same cores.",
    "bench_finetune": "MobileNetV2 0.35 at 224 pixels. Behind validation and test of a model "
    "stands what was kept: the head, the tuned weights, or weights interpolated between both.",
}
"""What a reader has to know of the tables and lines of a benchmark."""
VERDICTS: Mapping[str, Callable[[Record], list[str]]] = {
    "workflows": workflows.verdict,
    "everyday": everyday.verdict,
    "tutorials": tutorials.verdict,
    "bench_store": bench_store.verdict,
    "bench_extract": lambda facts: bench_extract.verdict(dict(facts)),
    **report_heads.VERDICTS,
    "bench_finetune": lambda facts: bench_finetune.verdict(dict(facts)),
    "bench_inputs": bench_inputs.verdict,
    "bench_views": bench_views.verdict,
    "bench_cluster": bench_cluster.verdict,
}
TABLES: Mapping[str, Callable[[Record], list[Grid]]] = {
    "workflows": lambda facts: [workflows.table(facts)],
    "everyday": everyday.tables,
    "tutorials": tutorials.tables,
    "bench_store": bench_store.tables,
    "bench_extract": bench_extract.tables,
    **report_heads.TABLES,
    "bench_inputs": bench_inputs.tables,
    "bench_views": bench_views.tables,
    "bench_cluster": bench_cluster.tables,
}
PICTURES: Mapping[str, tuple[tuple[str, ...], Callable[[Record, Path], list[Path]]]] = {
    "workflows": (("time", "epochs", "heads"), workflow_pictures.draw),
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
        parts += [NOTES[benchmark]] if benchmark in NOTES else []
        runs = {n: r for n, r in records.items() if r["benchmark"] == benchmark}
        if not runs:
            parts.append(f"Not measured: no run of `python -m benchmarks.{benchmark}` lies here.")
        for name, record in runs.items():
            parts += section(name, record, folder)
    parts += ["## On a GPU", on_gpu.grid(records).markdown()]
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
    about = {name: facts.pop(name, "") for name in ("processor", "backend", "device", "precision")}
    versions = ", ".join(f"{name} {version}" for name, version in facts.items())
    text = f"`{record['command']}` on {about['processor']}"
    if about["device"]:
        text += f"; Keras on {about['backend']}, {about['device']}, {about['precision']}"
    text += f"; {versions}."
    if record["load_before"] is not None:
        text += (
            f" Load average {record['load_before']:.1f} before, {record['load_after']:.1f} after."
        )
    return text


def busy(record: Record) -> str:
    """Return the processor of a run, and how busy it was, since that decides times."""
    machine = record["machine"]
    text = str(machine["processor"])
    if machine.get("device", device.CPU) != device.CPU:
        text += f", {machine['device']}"
    if record["load_before"] is None:
        return text
    return f"{text}, load average {record['load_before']:.1f} to {record['load_after']:.1f}"


def stored() -> dict[str, dict[str, Any]]:
    """Return the runs that are kept."""
    return results.load(results.FOLDER)


def scaling_document(records: Mapping[str, Record]) -> str:
    """Return docs/scaling.md."""
    record = records.get("scaling")
    if record is None:
        return "# How it scales\n\nNot measured: no run of `python -m benchmarks.scaling`.\n"
    return scaling_model.document(record, origin(record))


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
    in_one_line(main)
