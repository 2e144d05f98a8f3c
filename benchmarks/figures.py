"""Figures in prose that only a measurement can give: times, rates, ratios, sizes, accuracies.

A number counts as one if it has such a unit behind it, in digits or as a word, or at least three
places behind a point that begins at 0, as accuracies do. Code is left out, in blocks and in lines:
what commands print is held by tests of its own, and options are no measurements.
"""

from __future__ import annotations

import re

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
UNITS = {
    **{"s": "s", "second": "s", "seconds": "s", "ms": "ms", "milliseconds": "ms"},
    **{"minute": "minutes", "minutes": "minutes", "hour": "hours", "hours": "hours"},
    **{"kb": "KB", "kib": "KiB", "mb": "MB", "mib": "MiB", "gb": "GB", "gib": "GiB", "tb": "TB"},
    **{"images/s": "images/s", "mb/s": "MB/s", "gb/s": "GB/s"},
    **{"x": "x", "\N{MULTIPLICATION SIGN}": "x", "times": "x", "%": "%"},
}
UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
NUMBER = rf"\d[\d.,]*|(?:{'|'.join(WORDS)})(?=\s)"
FIGURE = re.compile(
    rf"(?<![\w.,])({NUMBER})\s?({UNIT})(?![\w/])|(?<![\w.])(0?\.\d{{3,}})", re.IGNORECASE
)
CODE = re.compile(r"^```.*?^```|`[^`]*`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)


def figures(text: str) -> set[str]:
    """Return the figures of a Markdown text, each in one spelling: "3.5 s", "12 x", "0.97"."""
    found = set()
    for number, unit, share in FIGURE.findall(CODE.sub(" ", text)):
        if share:
            found.add(f"0.{share.partition('.')[2]}")
            continue
        digits = str(WORDS.index(number.lower())) if number.lower() in WORDS else number
        found.add(f"{digits.rstrip('.,')} {UNITS[unit.lower()]}")
    return found
