"""Cells of a CSV that no spreadsheet takes for a formula, and back again.

A spreadsheet computes a cell that begins with =, +, -, @, a tab or a carriage return; such a text
is written with an apostrophe before it, which spreadsheets take for "this is text". `tables.py`
takes the apostrophe away again, so that paths and labels come back as they were. Numbers stay as
they are.

Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO

FORMULA = "=+@\t\r-"  # the dash is last: these stand between brackets in a pattern too


class TextWriter:
    """Writes rows as `csv.writer` does; no text in them is a formula."""

    def __init__(self, file: IO[str]) -> None:
        self._plain = csv.writer(file, lineterminator="\n")
        self._quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def writerow(self, cells: Iterable[object]) -> None:
        """Write one row."""
        row = [guarded(c) if isinstance(c, str) else c for c in cells]
        # `csv` does not quote a carriage return that is no part of its own line ends.
        ends = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (self._quoting if ends else self._plain).writerow(row)


def guarded(text: str) -> str:
    """Return a text as it is written."""
    if not text.lstrip("'").startswith(tuple(FORMULA)) or is_number(text):
        return text
    return "'" + text


def is_number(text: str) -> bool:
    """Return whether a text is a number as Python reads it."""
    try:
        float(text)
    except ValueError:
        return False
    return True
