"""How data sets of other libraries are named: `NAME[SPLITS]`, in the libraries' own words.

mnist                          every split
mnist[train[:40%]+test]        some, or parts of some
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

from extract.errors import InputError


def parse(text: str) -> tuple[str, list[str]]:
    """Return (name, splits) of "mnist[train[:40%]+test]"; no splits where none are named.

    Raises:
        InputError: If the brackets do not close, or a split is no word with a slice.
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return name, []
    parts = rest.removesuffix("]").split("+") if rest.endswith("]") else [""]
    if not name or not all(re.fullmatch(r"[\w-]+(\[[^\[\]]*\])?", part) for part in parts):
        raise InputError(f"Expected NAME[SPLITS], such as mnist[train[:40%]+test]. Got: {text!r}")
    if len(set(parts)) < len(parts):
        raise InputError(f"A split is named twice in {text!r}. Name each once")
    return name, parts


def word(split: str) -> str:
    """Return the name of a split without its slice."""
    return split.partition("[")[0]


def library(module: str, extra: str) -> Any:
    """Import a library that is an extra.

    Raises:
        InputError: If it is not installed, with the command that does it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError(
            f'{module} is not installed. To read such data sets: pip install "headstart[{extra}]"'
        ) from error


def only_image(features: Iterable[str], name: str) -> str:
    """Return the column of images: "image" where it is one, else the first.

    Raises:
        InputError: If there is none.
    """
    found = list(features)
    if not found:
        raise InputError(f"{name} has no column of images")
    return "image" if "image" in found else found[0]


def label_column(features: Iterable[str]) -> str | None:
    """Return the column of labels: "label" where it is one, else the only one."""
    found = list(features)
    if "label" in found:
        return "label"
    return found[0] if len(found) == 1 else None
