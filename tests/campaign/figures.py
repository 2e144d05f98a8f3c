"""What a campaign counted, and the one table that shows it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 3  # failures in the table; the tests show all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a campaign does; the defaults are those of the ordinary tests."""

    states: int = 60
    """Post-crash states at each write point."""
    all_states: int = 0
    """Post-crash states over all write points of all commands, where that is more."""
    cut_again_every: int = 3
    """At one in so many write points the power is cut a second time while it is made good."""
    second_cuts: int = 1
    """How often there, each time before another change."""
    second_states: int = 12
    """Post-crash states after each second cut."""
    mutations: int = 2000
    """Of files of stores and of heads, together."""
    images: int = 500
    """Mutated images."""
    kills: int = 4
    """Processes that get kill -9, in each format."""
    examples: int = 12
    """Histories of the stateful test."""
    every_fault: bool = False
    """Every kind of fault at every operation, instead of one kind at each in turn."""
    first_failure: bool = False
    """Whether the first failure is enough: for planted bugs."""
    seed: int = 0


LONG = Effort(
    all_states=100_000,
    cut_again_every=1,
    second_cuts=8,
    mutations=10_000,
    images=5000,
    kills=50,
    examples=200,
    every_fault=True,
)


@dataclass(slots=True)
class Figure:
    """One line of the table."""

    point: int
    """Of the nine points of the campaign."""
    what: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ""

    def check(self, holds: bool, otherwise: str) -> None:
        """Count a failure unless something holds."""
        if not holds:
            self.failures.append(otherwise)

    def __str__(self) -> str:
        verdict = "all held" if not self.failures else f"{len(self.failures)} FAILED"
        return f"{self.point}  {self.what:<58}{self.tried:>9,}  {verdict:<10}  {self.note}"


HEADING = f"   {'what was tried':<58}{'times':>9}  {'promise':<10}"


def table(figures: Iterable[Figure]) -> str:
    """Return figures as lines under a heading, with the first failures of each below it."""
    lines = [HEADING]
    for figure in figures:
        lines.append(str(figure).rstrip())
        lines += [f"      {failure[:300]}" for failure in figure.failures[:SHOWN]]
    return "\n".join(lines)


def reset_peak_memory() -> int:
    """Let the peak begin anew where the system can (Linux); return what is in use, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """Return the most memory that this process has had since, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():  # macOS counts bytes; a peak cannot begin anew there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
