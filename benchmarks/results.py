"""Results of runs as JSON files, which `benchmarks.report` collects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import device
from benchmarks.timing import machine

FOLDER = Path(__file__).with_name("results")


def load_average() -> float | None:
    """Return how many processes wanted a processor in the last minute; None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def save(out: Path, name: str, facts: Mapping[str, Any], before: float | None) -> Path:
    """Write what a benchmark came to, with the machine, the command and how busy the machine was.

    Args:
        out: A folder, which is made.
        name: Of the run, such as "workflows-cats_dogs_200px"; the part before "-" is the benchmark.
            The file's name has the backend too where it is not TensorFlow, and "gpu" on one.
        facts: JSON values.
        before: `load_average()` from before the run.
    """
    out.mkdir(parents=True, exist_ok=True)
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None else name
    found = machine()
    record = {
        "benchmark": name.partition("-")[0],
        "command": command(module, sys.argv[1:]),
        "machine": found,
        "load_before": before,
        "load_after": load_average(),
        "facts": facts,
    }
    path = out / f"{'-'.join([name, *device.suffixes(found)])}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def deliver(out: Path | None, name: str, facts: Mapping[str, Any], before: float | None) -> None:
    """Write a record into the folder `out`, and print its path; without one print all of it."""
    if out is None:
        print(json.dumps({"machine": machine(), **facts}))
    else:
        print(save(out, name, facts, before))


def command(module: str, words: Sequence[str]) -> str:
    """Return a command without the folders of this machine: of paths, the last part is kept."""
    shown = [Path(word).name if "/" in word else word for word in words]
    return " ".join(["python -m", module, *shown])


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name → record of all runs in a folder, sorted by name."""
    return {path.stem: _record(path) for path in sorted(folder.glob("*.json"))}


def _record(path: Path) -> dict[str, Any]:
    """Read a record; what a benchmark printed itself is the machine and its facts in one object."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if "facts" in found:
        return dict(found)
    benchmark = path.stem.partition("-")[0]
    return {
        "benchmark": benchmark,
        "command": f"python -m benchmarks.{benchmark}",
        "machine": found.pop("machine"),
        "load_before": None,
        "load_after": None,
        "facts": found,
    }
