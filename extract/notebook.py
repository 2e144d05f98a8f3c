"""How results look in a notebook: small HTML tables, every text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

MOST = 8  # entries of a list that are shown


class Shown:
    """Gives a result, which is a dataclass, an HTML table of its fields."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [[f.name, getattr(self, f.name)] for f in fields(self)]  # type: ignore[arg-type]
        return table([type(self).__name__, ""], rows)


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; numbers stand right, and long lists are cut."""
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    align = ' style="text-align: right"' if is_number else ""
    return f"<td{align}>{_text(value)}</td>"


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return _joined([f"{_plain(key)}: {_plain(of)}" for key, of in value.items()])
    if isinstance(value, list | tuple):
        return _joined([_plain(entry) for entry in value])
    return html.escape(_plain(value))


def _plain(value: object) -> str:
    return " ".join(str(value).split())


def _joined(words: Sequence[str]) -> str:
    shown = [html.escape(word) for word in words[:MOST]]
    more = [f"… {len(words) - MOST:,} more"] if len(words) > MOST else []
    return "<br>".join(shown + more)
