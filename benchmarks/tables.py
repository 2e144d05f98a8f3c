"""A table of words and numbers, printed for people and written as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Grid:
    """Rows of cells under columns; the first column is words, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row.

        Raises:
            ValueError: If it has not as many cells as there are columns.
        """
        if len(cells) != len(self.columns):
            raise ValueError(f"A row has {len(self.columns)} cells. Received: {len(cells)}")
        self.rows.append(cells)

    def show(self) -> None:
        """Print to stderr, so that stdout stays free for what programs read."""
        table = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False)
        for number, name in enumerate(self.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        Console(stderr=True, highlight=False, width=200).print(table)

    def markdown(self) -> str:
        """Return title and table as Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|---|" + "---:|" * (len(self.columns) - 1),
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 1) -> tuple[str, str, str]:
    """Return median, least and most, as cells."""
    numbers = (statistics.median(values), min(values), max(values))
    return tuple(f"{number:,.{digits}f}" for number in numbers)  # type: ignore[return-value]


def told(values: Sequence[float], digits: int = 1, unit: str = "s") -> str:
    """Return a median, and what the values range over where there are several, in words."""
    middle, least, most = spread(values, digits)
    return f"{middle} {unit}".strip() + (f" [{least} to {most}]" if len(values) > 1 else "")
