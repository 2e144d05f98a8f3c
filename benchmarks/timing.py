"""What every benchmark needs: repeated times, a table with their spread, the machine."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks import device

PACKAGES = ("keras", "tensorflow", "openvino", "numpy", "zarr", "h5py", "scikit-learn")


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of one call, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Table:
    """Rows of a label and repeated measurements, shown as median [min, max]."""

    def __init__(self, title: str, unit: str) -> None:
        self._table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
        self._table.add_column("")
        for name in (f"median, {unit}", "min", "max"):
            self._table.add_column(name, justify="right")

    def add(self, label: str, values: Sequence[float], digits: int = 1) -> None:
        """Add a row."""
        numbers = (statistics.median(values), min(values), max(values))
        self._table.add_row(label, *(f"{number:,.{digits}f}" for number in numbers))

    def show(self) -> None:
        """Print the table to stderr, so that stdout stays free for `--json`."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(self._table)


def machine() -> dict[str, str]:
    """Return processor, backend, device and precision of Keras, and versions, for a record."""
    computing = device.facts()
    facts = {"processor": _processor(), **computing, "python": platform.python_version()}
    for name in dict.fromkeys((*PACKAGES, computing["backend"])):
        facts[name] = importlib.metadata.version(name)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()
