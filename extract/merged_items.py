"""The items of several stores as those of one: each path once, with the further columns of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from extract.errors import InputError
from extract.store.commits import RowFacts
from extract.store.reader import Snapshot

Row = dict[str, Any]


def items_of(snapshots: Sequence[Snapshot]) -> list[Row]:
    """Return the items of all stores, sorted by path, each path once.

    Raises:
        InputError: If a path means two images, labels or groups.
    """
    found: dict[str, tuple[Row, str]] = {}
    for snapshot in snapshots:
        for row in snapshot.items.to_pylist():
            before, where = found.setdefault(row["path"], (row, snapshot.path))
            for name in ("image_key", "label", "group"):
                if before[name] != row[name]:
                    raise InputError(
                        f"{row['path']} has {name} {before[name]} in {where} and {row[name]} in "
                        f"{snapshot.path}. Rename one, or relabel it"
                    )
    return [found[path][0] for path in sorted(found)]


def table_of(
    items: Sequence[Row],
    snapshots: Sequence[Snapshot],
    keys: Sequence[str],
    facts: Mapping[str, RowFacts],
    split: Sequence[str],
) -> pa.Table:
    """Return the merged items, with their rows and statuses.

    Args:
        items: What `items_of` gave.
        snapshots: Those that are merged.
        keys: Image keys in row order.
        facts: How each image went.
        split: The split of each item.

    Raises:
        InputError: If two have a further column of one name whose types do not fit.
    """
    row_of = {key: index for index, key in enumerate(keys)}
    rows = []
    for row, name in zip(items, split, strict=True):
        found = facts.get(row["image_key"])
        told = (
            {}
            if found is None
            else {
                "status": found.status,
                "stage": found.stage or None,
                "reason": found.reason or None,
                "row": row_of[found.image_key],
            }
        )
        rows.append(row | told | {"split": name})
    return pa.Table.from_pylist(rows, schema=_schema(snapshots))


def _schema(snapshots: Sequence[Snapshot]) -> pa.Schema:
    """Return a schema that the items of all stores fit, with the further columns of each."""
    merged = snapshots[0].items.schema
    for at, snapshot in enumerate(snapshots):
        theirs = snapshot.items.schema
        try:
            merged = pa.unify_schemas([merged, theirs], promote_options="permissive")
        except pa.ArrowTypeError as error:
            for field in theirs:
                _check_fits(field, snapshot, snapshots[:at])
            raise InputError(f"The items of {snapshot.path} do not fit: {error}") from error
    return merged


def _check_fits(field: pa.Field, snapshot: Snapshot, before: Sequence[Snapshot]) -> None:
    for other in before:
        items = other.items
        if field.name not in items.column_names:
            continue
        kind = items.schema.field(field.name).type
        try:
            pa.unify_schemas(
                [pa.schema([field]), pa.schema([field.with_type(kind)])],
                promote_options="permissive",
            )
        except pa.ArrowTypeError as error:
            raise InputError(
                f"Column {field.name!r} is {kind} in {other.path} and {field.type} in "
                f"{snapshot.path}. Give it one type in both tables, and run one of them again"
            ) from error
