"""Who is train, validation and test in a store that is made of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from extract import splits

Row = dict[str, Any]


def cut(items: Sequence[Row]) -> list[str]:
    """Decide the splits that the parts of a listing left open, as a run over all of it does."""
    return splits.assign(
        [
            splits.Candidate(unit, row["label"], row["split"])
            for unit, row in zip(_units(items), items, strict=True)
        ]
    )


def as_cut(items: Sequence[Row], tables: Sequence[pa.Table]) -> list[str]:
    """Return the splits that the items have in their stores, and one for what belongs together.

    Args:
        items: The merged items.
        tables: The items of each store; where two disagree, the first decides.
    """
    units = _units(items)
    unit_of = {row["path"]: unit for row, unit in zip(items, units, strict=True)}
    kept: dict[str, str] = {}
    for table in tables:
        pairs = zip(table["path"].to_pylist(), table["split"].to_pylist(), strict=True)
        for path, split in pairs:
            kept.setdefault(unit_of[path], split)
    return [kept[unit] for unit in units]


def _units(items: Sequence[Row]) -> list[str]:
    names = [row["image_key"] or row["path"] for row in items]
    return splits.units_of(names, [row["group"] for row in items])
