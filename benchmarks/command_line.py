"""What the command lines of benchmarks share: numbers, folders of photographs, errors in a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import BenchmarkError
from extract.errors import HeadstartError

PICTURES = (".jpg", ".jpeg", ".png")


def positive(text: str) -> int:
    """Return how many, which is at least 1, for `argparse`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1. Received: {text}")
    return int(text)


def photographs(place: Path, option: str) -> Path:
    """Return a folder in which pictures lie.

    Args:
        place: The folder.
        option: What was given for it, and what to give, in words.

    Raises:
        BenchmarkError: If none do.
    """
    if not any(path.suffix.lower() in PICTURES for path in place.rglob("*")):
        raise BenchmarkError(f"There are no pictures in {place}. Give {option}")
    return place


def photographs_of(shared: Path, name: str) -> Path:
    """Return a folder of real photographs; see `photographs`."""
    return photographs(shared / "data" / name, f"--shared a folder with pictures in data/{name}")


def in_one_line(main: Callable[[], object]) -> None:
    """Run a command; what cannot be is one line, and status 1."""
    try:
        main()
    except (BenchmarkError, HeadstartError) as error:
        sys.exit(f"Error: {' '.join(str(error).split())}")
