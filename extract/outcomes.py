"""What became of a run's items → the items of its snapshot: statuses, rows, labels, splits.

What a person decided of an item (`extract.relabeling`), and who has a split already, stands before
what folders and tables say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from extract import splits
from extract.errors import ImageError
from extract.items import Item, Listing
from extract.known import Known
from extract.store.commits import HAS_FEATURES, Commit, FileRead, RowFacts
from extract.store.item_tables import ITEM_SCHEMA, ITEMS_AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item."""

    item: Item
    read: FileRead | None = None
    """None where it could not be read."""
    trouble: ImageError | None = None
    """Why it could not be read."""


def items_of(
    outcomes: Sequence[Outcome],
    columns: Sequence[Sequence[Commit]],
    known: Known,
    listing: Listing,
) -> pa.Table:
    """Return the items of a snapshot, in item order, with the user's further columns behind ours.

    Args:
        outcomes: What became of each item of the listing.
        columns: The commits of each column, in row order.
        known: What was decided of items before.
        listing: The items.
    """
    return _with_further(_items(outcomes, _facts(columns), known, listing), listing)


def _facts(columns: Sequence[Sequence[Commit]]) -> dict[str, tuple[int, RowFacts]]:
    """Map image keys to (row, facts); an image without features in any column is bad."""
    facts: dict[str, tuple[int, RowFacts]] = {}
    for commits in columns:
        rows = (row for commit in commits for row in commit.rows)
        for index, row in enumerate(rows):
            if row.image_key not in facts or row.status not in HAS_FEATURES:
                facts[row.image_key] = (index, row)
    return facts


def _items(
    outcomes: Sequence[Outcome],
    facts: Mapping[str, tuple[int, RowFacts]],
    known: Known,
    listing: Listing,
) -> pa.Table:
    decisions = _decisions(known)
    outcomes = [_as_decided(o, decisions.get(o.item.path)) for o in outcomes]
    split: Sequence[str | None]
    if listing.part is None:
        split = _splits(outcomes, decisions, known)
    else:  # who is what, all parts together decide
        split = [outcome.item.split for outcome in outcomes]
    pieces: dict[str, list[pa.Array]] = {name: [] for name in ITEM_SCHEMA.names}
    for start in range(0, len(outcomes), ITEMS_AT_ONCE):
        chosen = slice(start, start + ITEMS_AT_ONCE)
        rows = [_item_row(o, facts) for o in outcomes[chosen]]
        for row, name in zip(rows, split[chosen], strict=True):
            row["split"] = name
            row["decided"] = decisions.get(str(row["path"]), {}).get("decided")
        batch = pa.RecordBatch.from_pylist(rows, schema=ITEM_SCHEMA)
        for name in pieces:
            pieces[name].append(batch[name])
    # Column by column, so that no more than one of them is in memory twice.
    arrays = [pa.concat_arrays(pieces.pop(name)) for name in ITEM_SCHEMA.names]
    return pa.table(arrays, schema=ITEM_SCHEMA)


def _with_further(table: pa.Table, listing: Listing) -> pa.Table:
    """Put the user's further columns beside ours."""
    further = listing.further
    if further is None:
        return table
    return pa.table(
        [*table.columns, *further.combine_chunks().columns],
        schema=pa.schema([*table.schema, *further.schema.remove_metadata()]),
    )


def _decisions(known: Known) -> dict[str, dict[str, str]]:
    """Map paths to what a person decided of these items: `relabel` did it, and runs keep it."""
    if known.items is None:
        return {}
    decided = known.items.filter(pc.is_valid(known.items["decided"]))
    names = ["path", "label", "split", "group", "decided"]
    return {row["path"]: row for row in decided.select(names).to_pylist()}


def _as_decided(outcome: Outcome, decision: Mapping[str, str] | None) -> Outcome:
    """Put the label and group that a person chose in the place of the folder's."""
    if decision is None:
        return outcome
    fields = [name for name in ("label", "group") if name in decision["decided"].split()]
    chosen: dict[str, Any] = {name: decision[name] for name in fields}
    return replace(outcome, item=replace(outcome.item, **chosen))


def _splits(
    outcomes: Sequence[Outcome], decisions: Mapping[str, Mapping[str, str]], known: Known
) -> list[str]:
    names = [o.read.image_key if o.read else o.item.path for o in outcomes]
    units = splits.units_of(names, [o.item.group for o in outcomes])
    before = _kept_splits(known)
    kept: dict[str, str] = {}
    for unit, name in zip(units, names, strict=True):
        if name in before:
            kept.setdefault(unit, before[name])
    candidates = [
        splits.Candidate(unit, o.item.label, o.item.split, _pinned(decisions.get(o.item.path)))
        for unit, o in zip(units, outcomes, strict=True)
    ]
    rule = known.previous.split_rule if known.previous else None
    if rule is None:
        return splits.assign(candidates, kept)
    return splits.assign(candidates, kept, rule.seed, rule.ratios)


def _pinned(decision: Mapping[str, str] | None) -> str | None:
    return decision["split"] if decision and "split" in decision["decided"].split() else None


def _kept_splits(known: Known) -> dict[str, str]:
    """Map image keys, or paths where there are none, to the splits of the newest snapshot."""
    if known.items is None:
        return {}
    kept: dict[str, str] = {}
    own = {split: split for split in splits.SPLITS}  # one text for all, not one each
    for batch in known.items.select(["image_key", "path", "split"]).to_batches(ITEMS_AT_ONCE):
        for key, path, split in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            kept[key or path] = own.get(split, split)
    return kept


def _item_row(outcome: Outcome, facts: Mapping[str, tuple[int, RowFacts]]) -> dict[str, object]:
    item, read = outcome.item, outcome.read
    if read is None or facts[read.image_key][1].status == "absent":
        trouble = outcome.trouble or ImageError("read", "changed while it was read")
        key, size, mtime_ns, index = None, item.size, item.mtime_ns, -1
        status, stage, reason = "unreadable", trouble.stage, trouble.reason
    else:
        _, size, mtime_ns, key = read
        index, (_, status, stage, reason) = facts[key]
    return {
        "path": item.path,
        "label": item.label,
        "group": item.group,
        "image_key": key,
        "size": size,
        "mtime_ns": mtime_ns,
        "status": status,
        "stage": stage or None,
        "reason": reason or None,
        "row": index,
    }
