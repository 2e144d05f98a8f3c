"""Commands as processes of their own: wall time, memory at the peak, and what they printed.

`ru_maxrss` of a child begins at what its parent held when it was forked, so a small child of a
large benchmark looks large. VmHWM of /proc is the child's own; it only grows, so that looking at
it every 100 ms misses the growth of the last 100 ms alone. Elsewhere than on Linux it is not known.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Finished:
    """What a process came to."""

    seconds: float
    """Wall time from its start to its end."""
    peak_bytes: int | None
    """The most that the largest of it and its children held; None where no /proc says so."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The JSON object in its last line on stdout."""


class BenchmarkError(Exception):
    """What was to be measured cannot be: a process ended with an error, or pictures are missing."""


def run(words: Sequence[object], environment: Mapping[str, str] | None = None) -> Finished:
    """Run `python WORDS`, whose last line on stdout is a JSON object.

    Args:
        words: Of the command, such as ("-m", "extract", "run", "photos", "--json").
        environment: Variables beside those of this process.

    Raises:
        BenchmarkError: If it ends with another status than 0, with its last words.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *map(str, words)],
            env={**os.environ, **(environment or {})},
            stdout=out,
            stderr=err,
        )
        try:
            peak = _wait(child)
        finally:
            child.kill()
            child.wait()
        seconds = time.perf_counter() - start
        if child.returncode:
            raise BenchmarkError(
                f"`python {' '.join(map(str, words))}` ended with {child.returncode}: {_last(err)}"
            )
        return Finished(seconds, peak, json.loads(_last(out) or "{}"))


def run_command(*words: object, environment: Mapping[str, str] | None = None) -> Finished:
    """Run one of our commands, such as ("extract", "run", "photos"), with `--json`."""
    return run(("-m", *words, "--json"), environment)


def _last(file: Any) -> str:
    """Return the last line that says something by itself: TensorFlow ends with indented ones."""
    file.seek(0)
    lines = [line for line in file.read().splitlines() if line.strip() and not line[0].isspace()]
    return str(lines[-1]) if lines else ""


def _wait(child: subprocess.Popen[bytes]) -> int | None:
    """Wait for the end; return the peak of the largest process of the tree."""
    seen: dict[int, int] = {}
    while child.poll() is None:
        for pid in _tree(child.pid):
            if held := peak_of(pid):
                seen[pid] = held  # the last look counts: before its exec a child shows its parent
        time.sleep(LOOK_EVERY)
    return max(seen.values(), default=None)


def _tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = place.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in below:
            found += _tree(int(child))
    return found


def peak_of(pid: int) -> int | None:
    """Return the most bytes that a process has held; None where no /proc says so."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(match[1]) if match else None
